//! `/v1/uploads`, `/v1/downloads` and `/v1/jobs`

use hyper::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::deletion::{delete_backup_of, right, right_with};
use super::request::Request;
use super::{Shared, document, ok};
use crate::access::Right;
use crate::failure::{Code, Failure, Result};
use crate::http::Answer;
use crate::jobs::spec::{DeletionPolicy, Plan};
use crate::jobs::{Change, Job as JobResource, Kind, NewJob, Submitted};
use crate::passphrase;
use crate::repositories;
use crate::stream::Canceled;
use crate::views::{Job, Jobs};

/// The longest id: with its suffix it is a file's name.
const ID_BYTES_MAX: usize = 240;

/// The resource of `/v1/uploads/{id}` and `/v1/downloads/{id}`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    #[serde(flatten)]
    job: JobResource,
    resource_version: u64,
}

impl From<Change> for Resource {
    fn from(change: Change) -> Self {
        Self { resource_version: change.resource_version, job: change.job }
    }
}

pub(super) fn list(shared: &Shared, request: &Request) -> Result<Answer> {
    request.caller.require(Right::Read, "listing jobs")?;
    let (jobs, resource_version) = shared.table.list();
    ok(&Jobs { jobs: jobs.into_iter().map(Job::from).collect(), resource_version })
}

pub(super) fn show(shared: &Shared, request: &Request, id: &str) -> Result<Answer> {
    request.caller.require(Right::Read, "looking at a job")?;
    ok(&Job::from(shared.table.get(id).ok_or_else(|| no_such_job(id))?))
}

/// Takes a job: 201 when it is new, 200 when the same was asked for before.
pub(super) fn put(shared: &Shared, request: &Request, kind: Kind, id: &str) -> Result<Answer> {
    request.caller.require(right(kind), &format!("{} {id}", doing(kind)))?;
    check_id(id)?;
    let mut body = request.object()?;
    let spec = Request::spec(&mut body)?;
    let mut plan = Plan::new(kind, &spec)?;
    let policy = DeletionPolicy::of(kind, &spec);
    request.caller.require(right_with(kind, policy), "deletionPolicy Delete")?;
    let passphrase = credentials(request, &mut body)?;
    let engine = shared.engine.get();
    plan.operation_timeout = plan.operation_timeout.or(engine.settings().jobs.operation_timeout);
    let location = repositories::locate(engine.settings(), plan.repository.as_deref())?;
    if plan.repository.as_deref().is_some_and(repositories::is_url) {
        request.caller.require(Right::Admin, &format!("the repository {}", location.url))?;
        if passphrase.is_none() {
            let message = format!("no passphrase was given for {}", location.url);
            return Err(Failure::new(Code::Usage, message).hint("give one with --password-file"));
        }
    }
    if policy == DeletionPolicy::Delete && passphrase.is_some() {
        let message = format!(
            "deletionPolicy: Delete is not possible in {}, whose passphrase came with the request and \
             is not kept",
            location.url
        );
        return Err(Failure::new(Code::Usage, message)
            .hint("configure it with its password_file under [repositories.NAME], or say Retain"));
    }
    let cancel = spec.get("cancel").and_then(Value::as_bool).unwrap_or(false);
    let new = NewJob {
        id: id.to_owned(),
        kind,
        spec,
        plan,
        scope: request.caller.scope().clone(),
        passphrase,
    };
    let (status, mut change) = match shared.table.submit(new, &engine.host().name)? {
        Submitted::Created(change) => (StatusCode::CREATED, change),
        Submitted::Existing(change) => (StatusCode::OK, change),
    };
    if cancel {
        change = shared.table.cancel(id, asked_by(request))?;
    }
    shared.runner.wake();
    document(status, &Resource::from(change))
}

pub(super) fn get(shared: &Shared, request: &Request, kind: Kind, id: &str) -> Result<Answer> {
    request.caller.require(Right::Read, "looking at a job")?;
    ok(&Resource::from(find(shared, kind, id)?))
}

/// `{"cancel": true}`; nothing else of a job can be changed.
pub(super) fn patch(shared: &Shared, request: &Request, kind: Kind, id: &str) -> Result<Answer> {
    request.caller.require(right(kind), &format!("changing {} {id}", kind.as_str()))?;
    let change = find(shared, kind, id)?;
    let mut wanted = request.object()?;
    // Custom resources have it under `spec`; both are understood.
    if let Some(Value::Object(spec)) = wanted.remove("spec") {
        wanted.extend(spec);
    }
    let cancel = wanted.remove("cancel");
    if let Some(field) = wanted.keys().next() {
        let message =
            format!("{field}: it cannot be changed; allowed is {}", json!({"cancel": true}));
        return Err(Failure::new(Code::Usage, message));
    }
    match cancel {
        Some(Value::Bool(true)) => {
            let change = shared.table.cancel(id, asked_by(request))?;
            shared.runner.wake();
            ok(&Resource::from(change))
        }
        None | Some(Value::Bool(false)) => ok(&Resource::from(change)),
        Some(_) => Err(Failure::new(Code::Usage, "cancel: it is true or false")),
    }
}

/// Takes a job that has ended off the record, and before it the backup it made, where its spec says so.
pub(super) fn delete(shared: &Shared, request: &Request, kind: Kind, id: &str) -> Result<Answer> {
    request.caller.require(right(kind), &format!("removing {} {id}", kind.as_str()))?;
    let change = find(shared, kind, id)?;
    let policy = DeletionPolicy::of(kind, &change.job.spec);
    let doing = format!("removing {} {id} with its backup", kind.as_str());
    request.caller.require(right_with(kind, policy), &doing)?;
    if policy == DeletionPolicy::Delete {
        // It might end with a backup just when its record goes.
        if !change.job.status.phase.is_final() {
            return Err(Failure::new(Code::Busy, format!("{} {id} has not ended", kind.as_str()))
                .hint("cancel it first: PATCH it with {\"cancel\": true}"));
        }
        delete_backup_of(shared, request, &change.job)?;
    }
    shared.table.delete(id)?;
    ok(&Resource::from(change))
}

fn find(shared: &Shared, kind: Kind, id: &str) -> Result<Change> {
    shared.table.get(id).filter(|change| change.job.kind == kind).ok_or_else(|| {
        Failure::new(Code::NotFound, format!("there is no {} {id}", kind.as_str()))
            .hint("`thinmover job list` shows what there is")
    })
}

fn no_such_job(id: &str) -> Failure {
    Failure::new(Code::NotFound, format!("there is no job {id}"))
        .hint("`thinmover job list` shows what there is")
}

fn doing(kind: Kind) -> &'static str {
    match kind {
        Kind::Upload => "making backup",
        Kind::Download => "restore",
    }
}

fn asked_by(request: &Request) -> Canceled {
    Canceled::Asked { by: request.caller.to_string() }
}

fn credentials(
    request: &Request,
    body: &mut Map<String, Value>,
) -> Result<Option<thinmover_repository::Passphrase>> {
    let Some(credentials) = body.remove("credentials") else { return Ok(None) };
    let wrong = || Failure::new(Code::Usage, "credentials: allowed is {\"passphrase\": \"…\"}");
    let Value::Object(mut credentials) = credentials else { return Err(wrong()) };
    let Some(Value::String(text)) = credentials.remove("passphrase") else { return Err(wrong()) };
    let text = zeroize::Zeroizing::new(text);
    if !credentials.is_empty() {
        return Err(wrong());
    }
    request.caller.require(Right::Admin, "sending a passphrase")?;
    passphrase::accept(&text).map(Some)
}

/// Ids become names of files.
pub(super) fn check_id(id: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let first_is_fine = id.starts_with(|c: char| c.is_ascii_alphanumeric());
    if first_is_fine && id.len() <= ID_BYTES_MAX && id.chars().all(allowed) {
        return Ok(());
    }
    Err(Failure::new(
        Code::Usage,
        format!(
            "`{}` is no id: allowed are up to {ID_BYTES_MAX} letters, digits, `-`, `_` and `.`, \
             a letter or digit first",
            id.chars().take(ID_BYTES_MAX).collect::<String>()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_safe_name_of_a_file() {
        for id in ["a", "nightly-2026.01_31", "0b7f5daf-52e7", &"x".repeat(ID_BYTES_MAX)] {
            assert!(check_id(id).is_ok(), "{id}");
        }
        for id in ["", ".", "..", ".hidden", "-x", "a/b", "a b", "ä", "a\n", &"x".repeat(241)] {
            assert_eq!(check_id(id).unwrap_err().code, Code::Usage, "{id}");
        }
    }
}
