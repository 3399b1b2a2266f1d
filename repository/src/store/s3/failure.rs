//! What an attempt's failure means: for the caller, and for whether another one can help.

use std::fmt::Write as _;
use std::time::Duration;

use super::attempt::{Answer, Broken, innermost};
use super::client::Client;
use super::hint::hint;
use crate::store::{StoreError, StoreErrorKind};

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) kind: StoreErrorKind,
    /// There is an object, or an upload, that the condition forbade.
    pub(super) is_precondition: bool,
    /// The upload by parts is not there: it was completed or given up.
    pub(super) is_no_upload: bool,
    /// The store does not know what it was asked.
    pub(super) is_not_implemented: bool,
    /// Whether it was refused or never sent, so that it cannot arrive later.
    pub(super) is_definite: bool,
    pub(super) is_worth_retrying: bool,
    reason: String,
}

/// Texts longer than this are cut.
const REASON_CHARS_MAX: usize = 400;

impl Failed {
    /// From what was seen, and what the library made of it.
    pub(super) fn new(answer: &Answer, error: &object_store::Error) -> Self {
        let mut failed = match (answer.status, &answer.broken) {
            (Some(status), _) if (200..300).contains(&status) => {
                let reason = format!("the answer cannot be used: {}", innermost(error));
                Self { is_worth_retrying: true, ..Self::other(reason) }
            }
            (Some(status), _) => Self::refused(status, &answer.body),
            (None, Some(broken)) => Self::broken(broken),
            (None, None) => Self { is_definite: true, ..Self::other(innermost(error)) },
        };
        failed.add_stale_credentials(answer);
        failed
    }

    /// No answer within `limit`.
    pub(super) fn unanswered(limit: Duration, answer: &Answer) -> Self {
        let seconds = limit.as_secs_f32();
        let reason = format!("the store did not answer within {seconds:.1} seconds");
        let mut failed = Self { is_worth_retrying: true, ..Self::other(reason) };
        failed.add_stale_credentials(answer);
        failed
    }

    /// Nobody waited for it before it was sent.
    pub(super) fn given_up() -> Self {
        let reason = "it was given up before it was asked".to_owned();
        Self { kind: StoreErrorKind::GivenUp, is_definite: true, ..Self::other(reason) }
    }

    /// As an error of `action` on `key`, for a request that reads.
    pub(super) fn on_read(self, client: &Client, action: &'static str, key: &str) -> StoreError {
        client.error(self.kind, action, key, Some(self.reason))
    }

    /// As an error of a request that writes: a definite kind only if no earlier attempt may still
    /// arrive.
    pub(super) fn on_write(
        self,
        client: &Client,
        action: &'static str,
        key: &str,
        in_doubt: bool,
    ) -> StoreError {
        if !in_doubt {
            return self.on_read(client, action, key);
        }
        let reason = format!("{}; an earlier attempt was not answered", self.reason);
        client.error(StoreErrorKind::Other, action, key, Some(reason))
    }

    fn other(reason: String) -> Self {
        Self {
            kind: StoreErrorKind::Other,
            is_precondition: false,
            is_no_upload: false,
            is_not_implemented: false,
            is_definite: false,
            is_worth_retrying: false,
            reason,
        }
    }

    fn broken(broken: &Broken) -> Self {
        let is_certificate = broken.reason.contains("certificate");
        let mut reason = match broken.is_unsent {
            true => format!("no connection: {}", broken.reason),
            false => format!("the connection broke: {}", broken.reason),
        };
        add_hint(&mut reason, 0, "", &broken.reason);
        let is_worth_retrying = !(broken.is_unsent && is_certificate);
        Self { is_definite: broken.is_unsent, is_worth_retrying, ..Self::other(reason) }
    }

    fn refused(status: u16, body: &str) -> Self {
        use StoreErrorKind::{NoSpace, NotFound, Other, PermissionDenied, TooShort};
        let code = element(body, "Code").unwrap_or_default();
        let message = element(body, "Message").unwrap_or_default();
        let mut reason = format!("HTTP {status}");
        if !code.is_empty() {
            let _ = write!(reason, " {code}");
        }
        if !message.is_empty() {
            let _ = write!(reason, ": {}", message.trim_end_matches('.'));
        }
        add_hint(&mut reason, status, &code, &message);
        let is_lost = matches!(code.as_str(), "RequestTimeout");
        let is_garbled = matches!(
            code.as_str(),
            "BadDigest"
                | "IncompleteBody"
                | "XAmzContentSHA256Mismatch"
                | "XAmzContentChecksumMismatch"
        );
        let is_conflict = status == 409
            && matches!(code.as_str(), "" | "ConditionalRequestConflict" | "OperationAborted");
        let kind = match (status, code.as_str()) {
            (507, _)
            | (_, "QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded") => {
                NoSpace
            }
            (_, "ExpiredToken" | "InvalidToken") | (401 | 403, _) => PermissionDenied,
            // The bucket is not an object: nothing else in it is missing.
            (_, "NoSuchBucket") => Other,
            (404, _) => NotFound,
            (416, _) => TooShort,
            _ => Other,
        };
        let is_trouble = matches!(status, 408 | 429 | 500..=599) && !matches!(status, 501 | 507);
        Self {
            kind,
            is_precondition: matches!(status, 304 | 412),
            is_no_upload: code == "NoSuchUpload",
            is_not_implemented: status == 501,
            is_definite: kind == NoSpace
                || status == 501
                || status < 500 && status != 408 && !is_lost,
            is_worth_retrying: kind != NoSpace
                && (is_trouble || is_conflict || is_lost || is_garbled),
            reason,
        }
    }

    fn add_stale_credentials(&mut self, answer: &Answer) {
        if let Some(stale) = &answer.stale_credentials {
            let _ = write!(self.reason, "; it was signed with an earlier key, for {stale}");
        }
    }
}

fn add_hint(reason: &mut String, status: u16, code: &str, message: &str) {
    if let Some(hint) = hint(status, code, message) {
        let _ = write!(reason, "; {hint}");
    }
}

/// The text of the first such element, made fit for a message.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_CHARS_MAX).collect();
    let entities =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&apos;", "'")];
    let text = entities.iter().fold(text, |text, (entity, sign)| text.replace(entity, sign));
    Some(text.replace("&amp;", "&").trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use StoreErrorKind::{NoSpace, NotFound, Other, PermissionDenied, TooShort};

    fn xml(code: &str) -> String {
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>No.</Message></Error>")
    }

    #[test]
    fn answers_are_sorted() {
        for (status, code, kind, is_definite, is_retried) in [
            (404, "NoSuchKey", NotFound, true, false),
            (404, "", NotFound, true, false),
            (404, "NoSuchBucket", Other, true, false),
            (403, "AccessDenied", PermissionDenied, true, false),
            (400, "ExpiredToken", PermissionDenied, true, false),
            (403, "QuotaExceeded", NoSpace, true, false),
            (507, "", NoSpace, true, false),
            (416, "InvalidRange", TooShort, true, false),
            (409, "ConditionalRequestConflict", Other, true, true),
            (409, "BucketNotEmpty", Other, true, false),
            (400, "RequestTimeout", Other, false, true),
            (400, "BadDigest", Other, true, true),
            (408, "", Other, false, true),
            (429, "", Other, true, true),
            (500, "InternalError", Other, false, true),
            (501, "NotImplemented", Other, true, false),
            (503, "SlowDown", Other, false, true),
            (301, "PermanentRedirect", Other, true, false),
        ] {
            let failed = Failed::refused(status, &xml(code));
            assert_eq!(failed.kind, kind, "{status} {code}");
            assert_eq!(failed.is_definite, is_definite, "{status} {code}");
            assert_eq!(failed.is_worth_retrying, is_retried, "{status} {code}");
            assert!(failed.reason.starts_with(&format!("HTTP {status}")), "{}", failed.reason);
        }
    }

    #[test]
    fn texts_of_a_store_are_one_bounded_line() {
        let body = "<Error><Message>a &lt;b&gt; &amp;amp;\n\u{7}c</Message></Error>";
        assert_eq!(element(body, "Message").unwrap(), "a <b> &amp;  c");
        let long = format!("<Message>{}</Message>", "x".repeat(5000));
        assert_eq!(element(&long, "Message").unwrap().len(), REASON_CHARS_MAX);
        assert!(element("<Message>", "Message").is_none());
    }
}
