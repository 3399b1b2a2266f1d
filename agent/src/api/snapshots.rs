//! `/v1/snapshots`: VolumeSnapshots by the caller's ids.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::jobs::check_id;
use super::request::Request;
use super::{Shared, document, ok};
use crate::access::Right;
use crate::failure::{Code, Failure, Result};
use crate::http::Answer;
use crate::snapshots::Claim;
use crate::views::{Snapshot, Snapshots};

/// How long a request waits for the recovery at the agent's start.
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);

/// The resource of `/v1/snapshots/{id}`.
#[derive(Serialize)]
struct Resource {
    id: String,
    spec: Map<String, Value>,
    status: Value,
    /// As lists show it; nothing when it is not there.
    snapshot: Option<Snapshot>,
    warnings: Vec<String>,
}

impl Resource {
    fn new(claim: Claim, snapshot: Option<Snapshot>, warnings: Vec<String>) -> Self {
        let status = json!({
            "readyToUse": snapshot.is_some(),
            "restoreSize": snapshot.as_ref().map(|snapshot| snapshot.size_bytes),
            "snapshotHandle": snapshot.as_ref().map(|snapshot| &snapshot.uuid).or(claim.handle.as_ref()),
            "creationTime": snapshot.as_ref().map(|snapshot| snapshot.created_at),
        });
        Self { id: claim.id, spec: claim.spec, status, snapshot, warnings }
    }
}

pub(super) fn list(shared: &Shared, request: &Request) -> Result<Answer> {
    request.caller.require(Right::Read, "listing snapshots")?;
    ok(&Snapshots::read(&shared.engine.get())?)
}

/// Makes a snapshot: 201 when it is new, 200 when the same was asked for before.
pub(super) fn put(shared: &Shared, request: &Request, id: &str) -> Result<Answer> {
    request.caller.require(Right::Backup, "making a snapshot")?;
    check_id(id)?;
    let spec = Request::spec(&mut request.object()?)?;
    let engine = shared.engine.get();
    let made = shared.snapshots.create(&engine, id, spec, request.caller.scope())?;
    let status = if made.is_new { StatusCode::CREATED } else { StatusCode::OK };
    document(status, &Resource::new(made.claim, made.snapshot, made.warnings))
}

pub(super) fn get(shared: &Shared, request: &Request, id: &str) -> Result<Answer> {
    request.caller.require(Right::Read, "looking at a snapshot")?;
    let (claim, snapshot) = shared.snapshots.get(&shared.engine.get(), id)?;
    ok(&Resource::new(claim, snapshot, Vec::new()))
}

/// By the caller's id, or a snapshot's name or UUID.
pub(super) fn delete(shared: &Shared, request: &Request, id: &str) -> Result<Answer> {
    request.caller.require(Right::Backup, "deleting a snapshot")?;
    let engine = shared.engine.get();
    let warnings = shared.snapshots.delete(&engine, id, request.caller.scope())?;
    ok(&json!({ "id": id, "warnings": warnings }))
}

/// Holds up a request that changes snapshots, and no thread: until the recovery at the agent's start is
/// done a snapshot may be one that is about to be removed, or in the way of its successor.
pub(super) async fn wait_for_recovery(shared: &Shared, request: &Request) -> Result<()> {
    let is_change = request.method == Method::PUT || request.method == Method::DELETE;
    if !is_change || !request.path.starts_with(&["v1".to_owned(), "snapshots".to_owned()]) {
        return Ok(());
    }
    request.caller.require(Right::Backup, "changing a snapshot")?;
    let deadline = Instant::now() + RECOVERY_LIMIT;
    while shared.runner.left().is_none() {
        if Instant::now() > deadline {
            let message = "what an earlier life of the agent left is still being put back";
            return Err(Failure::new(Code::Busy, message).hint("try again later"));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
