//! What can go wrong, in variants a caller can act on.

use std::io;
use std::path::PathBuf;

use crate::command::CommandError;
use crate::dm_thin::MetadataError;
use crate::guard::Refusal;
use crate::inventory::Volume;
use crate::names::NameError;
use crate::record::RecordError;
use crate::report::ReportError;

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum LvmError {
    /// Nothing has that name, UUID or path.
    #[error("{spec:?} was not found{hint}")]
    NotFound {
        /// What was looked for.
        spec: String,
        /// Why it may be invisible; empty or begins with a separator.
        hint: String,
    },
    /// Several volumes have that name.
    #[error("{spec:?} is ambiguous: {}", candidates.join(", "))]
    Ambiguous {
        /// What was looked for.
        spec: String,
        /// `VG/LV (UUID)` of each.
        candidates: Vec<String>,
    },
    /// A guard refused; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// LVM would not take the name, UUID or tag.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A program could not be run or failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A report could not be understood.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A record could not be written, read or locked.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A pool's metadata could not be read or relied on.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The caller is not root.
    #[error("root is needed: LVM and device-mapper obey nobody else")]
    NotRoot,
    /// A volume is not in the state that a command should have left it in.
    #[error("{volume}: {what}")]
    Unexpected {
        /// `VG/LV`.
        volume: String,
        /// What is wrong.
        what: String,
    },
    /// The caller did not want it any more.
    #[error("interrupted")]
    Interrupted,
    /// The system refused a call.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried: `open`, `mount`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system reports.
        source: io::Error,
    },
}

/// Classes of [`LvmError`] that a caller answers differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// It does not exist.
    NotFound,
    /// It exists, but now, here or to this caller it must not be done: busy, guarded, ambiguous.
    Refused,
    /// What was asked for can never be right: a name LVM would not take.
    Invalid,
    /// The caller must be root.
    Permission,
    /// Anything else.
    Failed,
}

impl LvmError {
    /// A volume that was there a moment ago.
    pub(crate) fn gone(volume: &Volume) -> Self {
        let hint = ": it was removed meanwhile".to_owned();
        Self::NotFound { spec: volume.alias(), hint }
    }

    /// The class of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Metadata(MetadataError::NoDevice(_)) => ErrorKind::NotFound,
            Self::Ambiguous { .. }
            | Self::Refused(_)
            | Self::Metadata(MetadataError::Live { .. })
            | Self::Command(CommandError::Locked { .. })
            | Self::Record(RecordError::Busy { .. }) => ErrorKind::Refused,
            Self::Name(_) => ErrorKind::Invalid,
            Self::NotRoot | Self::Command(CommandError::NotRoot { .. }) => ErrorKind::Permission,
            Self::Io { source, .. }
            | Self::Command(
                CommandError::Io { source, .. } | CommandError::LockFile { source, .. },
            )
            | Self::Record(RecordError::Io { source, .. }) => match source.kind() {
                io::ErrorKind::PermissionDenied => ErrorKind::Permission,
                _ => ErrorKind::Failed,
            },
            Self::Command(_)
            | Self::Report(_)
            | Self::Record(_)
            | Self::Metadata(_)
            | Self::Interrupted
            | Self::Unexpected { .. } => ErrorKind::Failed,
        }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { action, path: path.into(), source }
    }
}
