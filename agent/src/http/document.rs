//! The document `{"error":{"code":"…","message":"…","hint":"…"}}` of a failure on the wire.

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use crate::failure::{Code, Failure};

#[derive(Serialize)]
struct Written<'a> {
    error: &'a Failure,
}

#[derive(Deserialize)]
struct Read {
    error: Failure,
}

/// The document of a failure.
pub(super) fn write(failure: &Failure) -> Vec<u8> {
    // Strings and an enumeration always serialize.
    serde_json::to_vec(&Written { error: failure }).unwrap_or_default()
}

/// The failure that an answer with an error status carries; one that only names the status where
/// the body is no such document.
pub(super) fn read(status: StatusCode, body: &[u8]) -> Failure {
    match serde_json::from_slice::<Read>(body) {
        Ok(document) => document.error,
        Err(_) => Failure::new(
            Code::Failed,
            format!("the agent answered with status {status} and no explanation"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_error_document_becomes_a_failure_that_names_the_status() {
        for body in ["", "{}", "<html>", r#"{"error":"text"}"#, "\u{0}"] {
            let failure = read(StatusCode::BAD_GATEWAY, body.as_bytes());
            assert_eq!(failure.code, Code::Failed);
            assert!(failure.message.contains("502"), "{body}: {failure}");
        }
    }

    #[test]
    fn a_document_has_the_keys_that_are_promised() {
        let text = write(&Failure::new(Code::NotFound, "no such volume").hint("look"));
        let expected = r#"{"error":{"code":"not-found","message":"no such volume","hint":"look"}}"#;
        assert_eq!(text, expected.as_bytes());
        assert_eq!(read(StatusCode::NOT_FOUND, &text).code, Code::NotFound);
    }
}
