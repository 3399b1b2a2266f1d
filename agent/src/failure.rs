//! The one shape in which everything that goes wrong reaches a user: a code, what happened, and
//! what to do next. The command line renders it for people or as JSON, and derives its exit code.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of failure it is: an enumerated, documented set, the same on every surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Code {
    /// The command line or the configuration asks for something that does not exist.
    Usage,
    /// No daemon answers and `--standalone` was not given.
    NoDaemon,
    /// The volume, backup, snapshot, pool or repository named is not there.
    NotFound,
    /// A name fits several things.
    Ambiguous,
    /// Another job, an open device or a mount is in the way.
    Busy,
    /// A guard refused, or a limit was crossed: the workload goes first.
    Guard,
    /// The backup is held.
    Held,
    /// Something of that name is there already.
    Exists,
    /// It would overwrite data and neither a terminal nor `--yes` agreed.
    ConfirmationNeeded,
    /// The target is smaller than the backup.
    TargetTooSmall,
    /// The source or target is not of a kind this can be done with.
    Unsuitable,
    /// The passphrase opens no key slot.
    WrongPassphrase,
    /// Stored data is missing, cut short or altered.
    Damaged,
    /// Written by a newer version.
    NewerFormat,
    /// The caller has not the right to ask for this.
    NotAllowed,
    /// The kernel or the filesystem said no.
    PermissionDenied,
    /// A disk is full.
    NoSpace,
    /// The last request was not answered: what was asked for may have been done.
    InDoubt,
    /// Somebody asked the job to end.
    Canceled,
    /// The agent died while the job ran.
    Interrupted,
    /// The past that was asked for is forgotten.
    Gone,
    /// A request larger than is accepted.
    TooLarge,
    /// A request came too slowly.
    TimedOut,
    /// Anything without a code of its own. A code this version does not know is read as this one.
    #[serde(other)]
    Failed,
}

impl Code {
    /// 1 failed, 2 usage, 3 not found, 4 refused.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Usage | Self::TooLarge => 2,
            Self::NotFound => 3,
            Self::Ambiguous
            | Self::Busy
            | Self::Guard
            | Self::Held
            | Self::Exists
            | Self::ConfirmationNeeded
            | Self::TargetTooSmall
            | Self::Unsuitable
            | Self::NotAllowed => 4,
            Self::Failed
            | Self::NoDaemon
            | Self::WrongPassphrase
            | Self::Damaged
            | Self::NewerFormat
            | Self::PermissionDenied
            | Self::NoSpace
            | Self::InDoubt
            | Self::Canceled
            | Self::Interrupted
            | Self::Gone
            | Self::TimedOut => 1,
        }
    }

    /// As it stands in documents and in the journal.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NoDaemon => "no-daemon",
            Self::NotFound => "not-found",
            Self::Ambiguous => "ambiguous",
            Self::Busy => "busy",
            Self::Guard => "guard",
            Self::Held => "held",
            Self::Exists => "exists",
            Self::ConfirmationNeeded => "confirmation-needed",
            Self::TargetTooSmall => "target-too-small",
            Self::Unsuitable => "unsuitable",
            Self::WrongPassphrase => "wrong-passphrase",
            Self::Damaged => "damaged",
            Self::NewerFormat => "newer-format",
            Self::NotAllowed => "not-allowed",
            Self::PermissionDenied => "permission-denied",
            Self::NoSpace => "no-space",
            Self::InDoubt => "in-doubt",
            Self::Canceled => "canceled",
            Self::Interrupted => "interrupted",
            Self::Gone => "gone",
            Self::TooLarge => "too-large",
            Self::TimedOut => "timed-out",
        }
    }
}

/// What happened, to what, why, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

/// Results whose error is fit to show to a user.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// A failure whose message is the chain of an error's causes, each link after a colon.
    pub(crate) fn from_error(code: Code, error: &dyn std::error::Error) -> Self {
        Self::new(code, chain(error))
    }

    /// Adds what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts what was being done before the message.
    pub(crate) fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }
}

/// An error and its causes, each after a colon.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // A transparent wrapper repeats what it wraps.
        if !message.ends_with(&text) {
            message = format!("{message}: {text}");
        }
        cause = error.source();
    }
    message
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_read_back_as_it_was_written() {
        let failure = Failure::new(Code::TargetTooSmall, "too small").hint("take another");
        let read: Failure =
            serde_json::from_str(&serde_json::to_string(&failure).unwrap()).unwrap();
        assert_eq!(
            (read.code, read.message, read.hint),
            (failure.code, failure.message, failure.hint)
        );
    }

    #[test]
    fn a_code_of_a_newer_version_is_read_as_failed() {
        let read: Failure =
            serde_json::from_str(r#"{"code":"from-the-future","message":"m","more":1}"#).unwrap();
        assert_eq!((read.code, read.hint), (Code::Failed, None));
    }
}
