//! What the agent answers over its socket: one file a resource. Each checks the caller's rights,
//! turns the request into a call of `jobs` or `engine`, and the result into a document.
//!
//! Nothing here touches a volume, and nothing that a caller sends decides more than the caller's
//! rights allow. A passphrase in a request goes into the job's memory and nowhere else.

mod backups;
mod caller;
mod deletion;
mod holds;
mod inventory;
mod jobs;
mod request;
mod snapshots;
mod status;
mod watch;

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde::Serialize;

use crate::engine::CurrentEngine;
use crate::failure::{Code, Failure, Result};
use crate::http::{Answer, Call, Handler};
use crate::jobs::{Kind, RunnerHandle, Table};
use backups::Repositories;
use request::Request;

/// Everything that requests work on.
pub(crate) struct Api(Arc<Shared>);

struct Shared {
    engine: Arc<CurrentEngine>,
    table: Arc<Table>,
    runner: Arc<RunnerHandle>,
    snapshots: crate::snapshots::Claims,
    repositories: Repositories,
}

impl Api {
    pub(crate) fn new(
        engine: Arc<CurrentEngine>,
        table: Arc<Table>,
        runner: Arc<RunnerHandle>,
    ) -> Self {
        let snapshots = crate::snapshots::Claims::new(&engine.get().settings().state_dir);
        let repositories = Repositories::default();
        Self(Arc::new(Shared { engine, table, runner, snapshots, repositories }))
    }

    /// What was opened with the settings of before is opened anew.
    pub(crate) fn settings_changed(&self) {
        self.0.repositories.forget();
    }
}

impl Clone for Api {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl Handler for Api {
    async fn handle(&self, call: Call) -> Answer {
        let shared = Arc::clone(&self.0);
        let request = match Request::new(call, &shared.engine.get().settings().access) {
            Ok(request) => request,
            Err(failure) => return Answer::failure(&failure),
        };
        if request.is_watch() {
            return watch::feed(&shared, &request)
                .unwrap_or_else(|failure| Answer::failure(&failure));
        }
        if let Some(answer) = from_memory(&shared, &request) {
            return answer.unwrap_or_else(|failure| Answer::failure(&failure));
        }
        if let Err(failure) = snapshots::wait_for_recovery(&shared, &request).await {
            return Answer::failure(&failure);
        }
        // Everything else waits for a disk or for LVM.
        let answer = tokio::task::spawn_blocking(move || route(&shared, &request)).await;
        answer.unwrap_or_else(|_| {
            Answer::failure(&Failure::new(
                Code::Failed,
                "the request ended by an error in thinmover",
            ))
        })
    }
}

/// What is in memory is answered at once, also while every thread waits for LVM or a disk. That is how
/// the agent and its jobs are.
fn from_memory(shared: &Shared, request: &Request) -> Option<Result<Answer>> {
    if request.method != Method::GET {
        return None;
    }
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    Some(match path.as_slice() {
        ["v1", "version"] => status::version(shared, request),
        ["v1", "health"] => status::health(shared, request),
        ["v1", "jobs"] => jobs::list(shared, request),
        ["v1", "jobs", id] => jobs::show(shared, request, id),
        ["v1", "uploads", id] => jobs::get(shared, request, Kind::Upload, id),
        ["v1", "downloads", id] => jobs::get(shared, request, Kind::Download, id),
        _ => return None,
    })
}

fn route(shared: &Shared, request: &Request) -> Answer {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let answer = match (&request.method, path.as_slice()) {
        (&Method::GET, ["v1", "pools"]) => inventory::pools(shared, request),
        (&Method::GET, ["v1", "volumes"]) => inventory::volumes(shared, request),
        (&Method::PUT, ["v1", "uploads", id]) => jobs::put(shared, request, Kind::Upload, id),
        (&Method::PATCH, ["v1", "uploads", id]) => jobs::patch(shared, request, Kind::Upload, id),
        (&Method::DELETE, ["v1", "uploads", id]) => jobs::delete(shared, request, Kind::Upload, id),
        (&Method::PUT, ["v1", "downloads", id]) => jobs::put(shared, request, Kind::Download, id),
        (&Method::PATCH, ["v1", "downloads", id]) => {
            jobs::patch(shared, request, Kind::Download, id)
        }
        (&Method::DELETE, ["v1", "downloads", id]) => {
            jobs::delete(shared, request, Kind::Download, id)
        }
        (&Method::GET, ["v1", "snapshots"]) => snapshots::list(shared, request),
        (&Method::PUT, ["v1", "snapshots", id]) => snapshots::put(shared, request, id),
        (&Method::GET, ["v1", "snapshots", id]) => snapshots::get(shared, request, id),
        (&Method::DELETE, ["v1", "snapshots", id]) => snapshots::delete(shared, request, id),
        (&Method::GET, ["v1", "backups"]) => backups::list(shared, request),
        (&Method::GET, ["v1", "backups", id]) => backups::get(shared, request, id),
        (&Method::DELETE, ["v1", "backups", id]) => backups::delete(shared, request, id),
        (&Method::PUT, ["v1", "backups", id, "hold"]) => holds::put(shared, request, id),
        (&Method::DELETE, ["v1", "backups", id, "hold"]) => holds::delete(shared, request, id),
        (&Method::GET, ["v1", "repositories", name]) => backups::repository(shared, request, name),
        (method, path) => {
            Err(Failure::new(Code::NotFound, format!("there is no {method} /{}", path.join("/")))
                .hint("the calls of this version are listed in its documentation"))
        }
    };
    answer.unwrap_or_else(|failure| Answer::failure(&failure))
}

/// An answer that holds a document.
fn document(status: StatusCode, document: &impl Serialize) -> Result<Answer> {
    let body =
        serde_json::to_vec(document).map_err(|error| Failure::from_error(Code::Failed, &error))?;
    Ok(Answer::Json { status, body })
}

fn ok(body: &impl Serialize) -> Result<Answer> {
    document(StatusCode::OK, body)
}
