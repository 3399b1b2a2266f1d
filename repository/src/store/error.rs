//! How a store says no.

use std::io;

use nix::errno::Errno;

/// A request that a store did not answer with success.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {key} in {place}: {}", describe(.kind, .cause))]
pub struct StoreError {
    /// What the caller may want to tell apart.
    pub kind: StoreErrorKind,
    /// What was asked, as a verb.
    pub action: &'static str,
    /// The object's key, or the prefix that was listed.
    pub key: String,
    /// The store's address, or the file's path.
    pub place: String,
    /// The system's reason; the message ends with it.
    pub cause: Option<io::Error>,
}

/// Kinds of [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// There is no such object.
    NotFound,
    /// The disk, bucket or quota is full.
    NoSpace,
    /// This process may not.
    PermissionDenied,
    /// The object is longer than the caller allows.
    TooLarge,
    /// The object ends before the range that was asked for.
    TooShort,
    /// The key is not one that the format uses.
    InvalidKey,
    /// The caller had given up before; nothing was sent.
    GivenUp,
    /// Anything else. For a request that writes it may have happened all the same.
    Other,
}

impl StoreError {
    /// Whether there is no such object.
    pub fn is_not_found(&self) -> bool {
        self.kind == StoreErrorKind::NotFound
    }
}

/// Sorts an error of the operating system.
pub(super) fn kind_of(error: &io::Error) -> StoreErrorKind {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSPC | Errno::EDQUOT) => StoreErrorKind::NoSpace,
        Some(Errno::EACCES | Errno::EPERM | Errno::EROFS) => StoreErrorKind::PermissionDenied,
        Some(Errno::ENOENT | Errno::ENOTDIR) => StoreErrorKind::NotFound,
        _ => StoreErrorKind::Other,
    }
}

fn describe(kind: &StoreErrorKind, cause: &Option<io::Error>) -> String {
    if let Some(cause) = cause {
        return cause.to_string();
    }
    match kind {
        StoreErrorKind::NotFound => "it does not exist",
        StoreErrorKind::NoSpace => "no space left",
        StoreErrorKind::PermissionDenied => "permission denied",
        StoreErrorKind::TooLarge => "it is longer than it can be",
        StoreErrorKind::TooShort => "it ends too early",
        StoreErrorKind::InvalidKey => "the key is not valid",
        StoreErrorKind::GivenUp => "it was given up",
        StoreErrorKind::Other => "the store failed",
    }
    .to_owned()
}
