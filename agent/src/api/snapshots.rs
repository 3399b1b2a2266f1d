//! `/v1/snapshots`: VolumeSnapshots by the caller's ids.

use hyper::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::jobs::check_id;
use super::request::Request;
use super::{Shared, document, ok};
use crate::access::Right;
use crate::failure::Result;
use crate::http::Answer;
use crate::snapshots::Claim;
use crate::views::{Snapshot, Snapshots};

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
