//! System calls that failed, as what an operator is shown.

use std::fmt::Display;
use std::io::{self, ErrorKind};

use crate::failure::{Code, Failure};
use crate::sandbox;

/// `doing` says what was tried and on what, e.g. `cannot create /run/thinmover`.
pub(super) fn io_failure(doing: impl Display, error: &io::Error) -> Failure {
    let code = match error.kind() {
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::StorageFull => Code::NoSpace,
        _ => Code::Failed,
    };
    let failure = Failure::new(code, format!("{doing}: {error}"));
    let failure = match code {
        Code::PermissionDenied => failure.hint("run the agent as root"),
        _ => failure,
    };
    sandbox::explain(failure, Some(error))
}
