//! A request, with its caller's rights.

use std::collections::HashMap;

use hyper::Method;
use serde_json::{Map, Value};

use super::caller::Caller;
use crate::access::Access;
use crate::failure::{Code, Failure, Result};
use crate::http::Call;

/// A request that was taken apart.
pub(super) struct Request {
    pub(super) method: Method,
    /// The parts of its path.
    pub(super) path: Vec<String>,
    pub(super) caller: Caller,
    query: HashMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    pub(super) fn new(call: Call, access: &Access) -> Result<Self> {
        Ok(Self {
            path: call.segments()?,
            caller: Caller::new(&call.peer, access),
            query: call.query.into_iter().collect(),
            method: call.method,
            body: call.body,
        })
    }

    /// A parameter of the query.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// As [`query`](Self::query), a number.
    ///
    /// # Errors
    /// `Usage` for anything else.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>> {
        let number = |text: &str| {
            text.parse().map_err(|_| {
                Failure::new(Code::Usage, format!("`{name}` is `{text}`, which is no number"))
            })
        };
        self.query(name).map(number).transpose()
    }

    /// Whether it asks for the feed of jobs.
    pub(super) fn is_watch(&self) -> bool {
        self.method == Method::GET
            && self.path == ["v1", "jobs"]
            && self.query("watch").is_some_and(|watch| !matches!(watch, "0" | "false"))
    }

    /// The body, a JSON object.
    ///
    /// # Errors
    /// `Usage` for anything else.
    pub(super) fn object(&self) -> Result<Map<String, Value>> {
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(Failure::new(Code::Usage, "the body is no JSON object")),
            Err(error) => Err(Failure::new(Code::Usage, format!("the body is no JSON: {error}"))),
        }
    }

    /// The `spec` of the body, which must be an object.
    ///
    /// # Errors
    /// `Usage` where it is missing, and where it holds what must not be kept on record.
    pub(super) fn spec(body: &mut Map<String, Value>) -> Result<Map<String, Value>> {
        let spec = match body.remove("spec") {
            Some(Value::Object(spec)) => spec,
            _ => return Err(Failure::new(Code::Usage, "spec: it is missing, or no object")),
        };
        // Everything in a spec is kept and shown again.
        for secret in ["passphrase", "password", "credentials"] {
            if spec.contains_key(secret) {
                let message =
                    format!("spec.{secret}: a spec is kept on record and holds no secret");
                return Err(Failure::new(Code::Usage, message)
                    .hint("send {\"spec\": {…}, \"credentials\": {\"passphrase\": \"…\"}}"));
            }
        }
        Ok(spec)
    }
}
