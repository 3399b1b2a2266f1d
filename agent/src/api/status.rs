//! `/v1/version` and `/v1/health`

use serde_json::json;

use super::request::Request;
use super::{Shared, ok};
use crate::access::Right;
use crate::failure::Result;
use crate::http::Answer;
use crate::views::{Check, Health};

pub(super) fn version(shared: &Shared, request: &Request) -> Result<Answer> {
    request.caller.require(Right::Read, "asking for the version")?;
    let engine = shared.engine.get();
    ok(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "apiVersion": "v1",
        "host": engine.host().name,
        "hostId": engine.host().id,
    }))
}

pub(super) fn health(shared: &Shared, request: &Request) -> Result<Answer> {
    request.caller.require(Right::Read, "asking for the agent's health")?;
    let engine = shared.engine.get();
    let checks = vec![recovery(shared), configuration(&engine.settings().warnings), jobs(shared)];
    ok(&Health::new(engine.settings(), engine.io(), shared.runner.line(), checks))
}

fn recovery(shared: &Shared) -> Check {
    let (ok, message) = match shared.runner.left() {
        None => (true, "what earlier jobs left is being put back".to_owned()),
        Some(left) if left.is_empty() => (true, "nothing is left of earlier jobs".to_owned()),
        Some(left) => (false, left.join("; ")),
    };
    let hint = (!ok).then(|| "the journal says more: journalctl -u thinmover".to_owned());
    Check { name: "recovery".into(), ok, message, hint }
}

fn configuration(warnings: &[String]) -> Check {
    let ok = warnings.is_empty();
    let message = if ok { "as it should be".into() } else { warnings.join("; ") };
    Check { name: "configuration".into(), ok, message, hint: None }
}

fn jobs(shared: &Shared) -> Check {
    let (running, waiting) = shared.table.counts();
    match shared.table.closed() {
        None => {
            let message = format!("{running} running, {waiting} waiting");
            Check { name: "jobs".into(), ok: true, message, hint: None }
        }
        Some(failure) => {
            Check { name: "jobs".into(), ok: false, message: failure.message, hint: failure.hint }
        }
    }
}
