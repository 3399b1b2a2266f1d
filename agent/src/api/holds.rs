//! `/v1/backups/{id}/hold`

use serde_json::{Value, json};

use super::backups::{by_whole_id, tell};
use super::request::Request;
use super::{Shared, ok};
use crate::access::Right;
use crate::failure::{Code, Failure, Result};
use crate::http::Answer;
use crate::journal::Event;

/// `{"reason": "…"}`; the same again is answered with the hold that stands.
pub(super) fn put(shared: &Shared, request: &Request, id: &str) -> Result<Answer> {
    request.caller.require(Right::Admin, "holding a backup")?;
    let mut body = request.object()?;
    let wrong = |what: &str| Failure::new(Code::Usage, format!("{what}; allowed is a reason"));
    let Some(Value::String(reason)) = body.remove("reason") else {
        return Err(wrong("reason: it is missing, or no text"));
    };
    if let Some(field) = body.keys().next() {
        return Err(wrong(&format!("{field}: a hold has no such field")));
    }
    let repository = shared.repositories.open(shared, request.query("repository"))?;
    let backup = by_whole_id(&repository, id, "holding")?;
    let hold = repository.hold(backup.location, &reason)?;
    if backup.hold.is_none() {
        let happened = format!("was held for the reason `{reason}`");
        tell(Event::BackupHeld, request, &repository, &backup, &happened);
    }
    let (held_at, client) = (hold.held_at, hold.client);
    ok(&json!({ "id": id, "reason": reason, "heldAt": held_at, "client": client }))
}

pub(super) fn delete(shared: &Shared, request: &Request, id: &str) -> Result<Answer> {
    request.caller.require(Right::Admin, "lifting the hold on a backup")?;
    let repository = shared.repositories.open(shared, request.query("repository"))?;
    let backup = by_whole_id(&repository, id, "lifting its hold")?;
    repository.unhold(backup.location)?;
    tell(Event::BackupUnheld, request, &repository, &backup, "had its hold lifted");
    ok(&json!({ "id": id }))
}
