//! What can go wrong, as variants a caller can act on.

use std::ops::Range;
use std::sync::Arc;

use crate::store::{StoreError, StoreErrorKind};

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call on a repository failed. The message says what happened, to what, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store refused or failed a request.
    #[error(transparent)]
    Store(#[from] StoreError),

    /// The address is not one that a store can be opened from.
    #[error("cannot use {url:?} as a repository: {reason}")]
    UnsupportedUrl {
        /// As given.
        url: String,
        /// What is wrong, and how to write it.
        reason: String,
    },

    /// There is no repository of this kind at the place.
    #[error("{url} is not a thinmover repository: {reason}")]
    NotARepository {
        /// Where.
        url: String,
        /// How that shows.
        reason: String,
    },

    /// Init found something; it never overwrites.
    #[error(
        "{url} is already in use: it holds {found}; a repository is only made in an empty place"
    )]
    AlreadyInitialised {
        /// Where.
        url: String,
        /// The object that was found.
        found: String,
    },

    /// Written by a newer version of thinmover.
    #[error(
        "{object} has format {found}, this build reads up to {supported}: use a newer thinmover"
    )]
    NewerFormat {
        /// The object's key, or what it is.
        object: String,
        /// The version or feature that was found.
        found: String,
        /// The newest version this build knows.
        supported: u32,
    },

    /// No key slot opens with this passphrase.
    #[error("wrong passphrase for {url}: none of its {slots} key slots opens")]
    WrongPassphrase {
        /// Where.
        url: String,
        /// How many passphrase slots were tried.
        slots: usize,
    },

    /// An object does not hold what was written.
    #[error("{object} is damaged{}: {reason}", display_range(.range))]
    Damaged {
        /// The object's key.
        object: String,
        /// Which of its bytes, where that is known.
        range: Option<Range<u64>>,
        /// What does not fit.
        reason: String,
    },

    /// A part of an image cannot be found in any readable index.
    #[error("block {id} is in no readable index of the repository{hint}")]
    BlockMissing {
        /// The id that was looked for.
        id: crate::Id,
        /// Empty, or which index objects could not be read.
        hint: String,
    },

    /// What an image was to share with another backup cannot be read, or the backup is no longer
    /// live. The same image can still be made from all its blocks.
    #[error("backup {base} cannot serve as a base: {cause}")]
    BaseUnusable {
        /// The base's id.
        base: String,
        /// What is wrong with it.
        cause: Box<Error>,
    },

    /// What a listed backup reaches is not known in full, so nothing can be said to be garbage.
    #[error(
        "nothing can be collected: {backup} cannot be read to its end ({cause}); once it is \
         repaired or deleted, collection can go on"
    )]
    CollectionBlocked {
        /// The backup's id, or the index object.
        backup: String,
        /// What is wrong with it.
        cause: Box<Error>,
    },

    /// The folder for what does not fit in memory cannot be used.
    #[error("cannot use {} for what does not fit in memory: {source}", folder.display())]
    Scratch {
        /// The folder.
        folder: std::path::PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },

    /// No live backup has this id.
    #[error("no backup has the id {id}")]
    BackupNotFound {
        /// As given.
        id: String,
    },

    /// Several live backups' ids begin so.
    #[error("{prefix} is ambiguous: the ids of {matches} backups begin with it")]
    AmbiguousBackup {
        /// As given.
        prefix: String,
        /// How many.
        matches: usize,
    },

    /// The backup is held, and not to be deleted, or not for the reason that was given.
    #[error("backup {id} is held: {reason}")]
    BackupHeld {
        /// The backup's id.
        id: String,
        /// Why it is held.
        reason: String,
    },

    /// There is no hold to lift.
    #[error("backup {id} is not held")]
    NotHeld {
        /// The backup's id.
        id: String,
    },

    /// The session was ended by another before it committed.
    #[error("upload session {session} was ended by maintenance of the repository: begin again")]
    Fenced {
        /// The session's id.
        session: String,
    },

    /// The manifest's own request may have been done: the backup, which is complete, is listed or not.
    #[error(
        "whether backup {id} was made is not known, its last request was not answered: {cause}"
    )]
    CommitInDoubt {
        /// The id that the backup has, if it is listed.
        id: String,
        /// What became of the request.
        cause: Box<Error>,
    },

    /// A step of the upload failed, which makes a commit impossible: every worker is told the same.
    #[error("the upload failed: {cause}")]
    UploadFailed {
        /// The first failure.
        cause: Arc<Error>,
    },

    /// A worker was dropped with blocks in hand that others may count on.
    #[error("a worker ended before its blocks were stored")]
    WorkerLost,

    /// The caller asked for something outside the format's bounds.
    #[error("{0}")]
    InvalidInput(String),

    /// The caller said stop.
    #[error("canceled")]
    Canceled,

    /// A library below failed where it should not.
    #[error("{0} failed")]
    Internal(&'static str),
}

impl Error {
    pub(crate) fn damaged(object: &str, reason: impl Into<String>) -> Self {
        Self::Damaged { object: object.to_owned(), range: None, reason: reason.into() }
    }

    pub(crate) fn damaged_at(object: &str, range: Range<u64>, reason: impl Into<String>) -> Self {
        Self::Damaged { object: object.to_owned(), range: Some(range), reason: reason.into() }
    }

    /// Whether the store has no such object.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_not_found())
    }

    /// Whether the store has no room left.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::Store(error) => error.kind == StoreErrorKind::NoSpace,
            Self::UploadFailed { cause } => cause.is_no_space(),
            _ => false,
        }
    }

    /// Whether an error in reading a backup's manifest is of that backup alone, so that the others
    /// can still be read, and this one deleted.
    pub fn is_of_one_backup(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::NewerFormat { .. } => true,
            Self::Store(error) => {
                matches!(error.kind, StoreErrorKind::TooLarge | StoreErrorKind::Other)
            }
            _ => false,
        }
    }

    /// Whether a create that failed so has certainly created nothing, now or later.
    pub(crate) fn is_definite(&self) -> bool {
        use StoreErrorKind::{GivenUp, InvalidKey, NoSpace, NotFound, PermissionDenied};
        matches!(
            self,
            Self::Store(StoreError {
                kind: GivenUp | InvalidKey | NoSpace | NotFound | PermissionDenied,
                ..
            })
        )
    }

    /// Whether a request to the store may still have an effect.
    pub(crate) fn leaves_doubt(&self) -> bool {
        match self {
            Self::UploadFailed { cause } => cause.leaves_doubt(),
            Self::Store(_) => !self.is_definite(),
            _ => false,
        }
    }
}

fn display_range(range: &Option<Range<u64>>) -> String {
    range.as_ref().map_or_else(String::new, |r| format!(" at bytes {} to {}", r.start, r.end))
}
