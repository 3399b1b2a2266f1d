//! Errors of the layers below as what a user is shown.

use std::error::Error;
use std::io;

use thinmover_lvm::dm_thin::{MetadataBlock, MetadataError, Problem};
use thinmover_lvm::{ErrorKind, LvmError, Refusal};
use thinmover_repository::{Error as RepositoryError, StoreErrorKind};

use crate::failure::{Code, Failure};
use crate::sandbox;
use crate::stream::{Canceled, StreamError, TooLittleMemory};

impl From<LvmError> for Failure {
    fn from(error: LvmError) -> Self {
        if let LvmError::Metadata(error) = error {
            return error.into();
        }
        let code = match &error {
            LvmError::Ambiguous { .. } => Code::Ambiguous,
            LvmError::Refused(refusal) => refusal_code(refusal),
            other => match other.kind() {
                ErrorKind::NotFound => Code::NotFound,
                ErrorKind::Refused => Code::Busy,
                ErrorKind::Invalid => Code::Usage,
                ErrorKind::Permission => Code::PermissionDenied,
                ErrorKind::Failed => Code::Failed,
            },
        };
        let failure = Self::from_error(code, &error);
        if let LvmError::Refused(Refusal::HalfRestored { volume, job }) = &error {
            return failure.hint(format!(
                "restore to it again, which takes the mark away; if what it holds is right after \
                 all, because a snapshot was merged into it, `lvchange --deltag \
                 thinmover.restoring={job} {volume}` does"
            ));
        }
        let failure = match code {
            Code::NotFound => {
                failure.hint(
                "`thinmover volumes` and `thinmover pools` list what is there; a file is named with \
                 its folder, as ./disk.img",
            )
            }
            Code::Ambiguous => failure.hint("name it as VG/LV or by its UUID"),
            Code::PermissionDenied => failure.hint("run as root"),
            _ => failure,
        };
        sandbox::explain(failure, io_cause(&error))
    }
}

fn refusal_code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::PoolPastLimit { .. } | Refusal::PoolUnhealthy { .. } | Refusal::Group { .. } => {
            Code::Guard
        }
        Refusal::InUse { .. } | Refusal::Mounted { .. } | Refusal::MetadataHeld { .. } => {
            Code::Busy
        }
        Refusal::NameTaken { .. } => Code::Exists,
        _ => Code::Unsuitable,
    }
}

impl From<MetadataError> for Failure {
    fn from(error: MetadataError) -> Self {
        const TAKE_A_SNAPSHOT: &str = "a pool's metadata can be read while it is in use after \
             `dmsetup message POOL-tpool 0 reserve_metadata_snap`; \
             `dmsetup message POOL-tpool 0 release_metadata_snap` gives it back";
        let (code, hint) = match &error {
            MetadataError::Damaged { problem: Problem::NoSuperblock(_), .. }
            | MetadataError::Damaged { block: MetadataBlock(0), problem: Problem::PastTheEnd } => (
                Code::Unsuitable,
                "name a pool's metadata device, VG-POOL_tmeta under /dev/mapper, or a copy of one",
            ),
            MetadataError::Damaged { .. } => (
                Code::Damaged,
                "`thin_check` looks for all that is wrong; a copy that was made while the pool was \
                 active is never whole",
            ),
            MetadataError::NoDevice(_) => {
                (Code::NotFound, "`thinmover thin dump METADATA` lists the devices")
            }
            MetadataError::Changed | MetadataError::Live { .. } => (Code::Busy, TAKE_A_SNAPSHOT),
            MetadataError::NotDirect { .. } => {
                (Code::Unsuitable, "name the device itself, or make a copy of it in a file")
            }
            MetadataError::Read { .. } => return Self::from_error(Code::Failed, &error),
        };
        Self::from_error(code, &error).hint(hint)
    }
}

impl From<RepositoryError> for Failure {
    fn from(error: RepositoryError) -> Self {
        let code = repository_code(&error);
        let failure = Self::from_error(code, &error);
        let failure = match code {
            Code::NotFound => failure.hint("`thinmover backup list` shows what there is"),
            Code::Held => failure.hint("`thinmover backup unhold` lifts the hold"),
            Code::InDoubt => {
                failure.hint("`thinmover backup show ID` tells; it is whole if it is there")
            }
            Code::NoSpace => {
                failure.hint("nothing of this backup is listed; make room and try again")
            }
            _ => failure,
        };
        sandbox::explain(failure, store_cause(&error))
    }
}

/// What the system reported, where that is behind an error of LVM.
fn io_cause(error: &LvmError) -> Option<&io::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

/// What the system reported, where that is behind an error of a repository.
fn store_cause(error: &RepositoryError) -> Option<&io::Error> {
    match error {
        RepositoryError::Store(error) => error.cause.as_ref(),
        RepositoryError::UploadFailed { cause } => store_cause(cause),
        RepositoryError::CommitInDoubt { cause, .. } => store_cause(cause),
        _ => None,
    }
}

fn repository_code(error: &RepositoryError) -> Code {
    match error {
        RepositoryError::Store(error) => match error.kind {
            StoreErrorKind::NotFound => Code::Damaged,
            StoreErrorKind::NoSpace => Code::NoSpace,
            StoreErrorKind::PermissionDenied => Code::PermissionDenied,
            _ => Code::Failed,
        },
        RepositoryError::UnsupportedUrl { .. } | RepositoryError::InvalidInput(_) => Code::Usage,
        RepositoryError::NotARepository { .. }
        | RepositoryError::BackupNotFound { .. }
        | RepositoryError::NotHeld { .. } => Code::NotFound,
        RepositoryError::BackupHeld { .. } => Code::Held,
        RepositoryError::CommitInDoubt { .. } => Code::InDoubt,
        RepositoryError::AlreadyInitialised { .. } => Code::Exists,
        RepositoryError::NewerFormat { .. } => Code::NewerFormat,
        RepositoryError::WrongPassphrase { .. } => Code::WrongPassphrase,
        RepositoryError::Damaged { .. }
        | RepositoryError::BlockMissing { .. }
        | RepositoryError::CollectionBlocked { .. } => Code::Damaged,
        RepositoryError::AmbiguousBackup { .. } => Code::Ambiguous,
        RepositoryError::Canceled => Code::Canceled,
        RepositoryError::UploadFailed { cause } => repository_code(cause),
        _ => Code::Failed,
    }
}

impl From<Canceled> for Failure {
    fn from(canceled: Canceled) -> Self {
        match canceled {
            Canceled::Asked { .. } | Canceled::Overdue => {
                Self::from_error(Code::Canceled, &canceled)
            }
            Canceled::PoolLimit { .. } => Self::from_error(Code::Guard, &canceled)
                .hint("extend the pool or remove volumes, then try again"),
        }
    }
}

impl From<TooLittleMemory> for Failure {
    fn from(error: TooLittleMemory) -> Self {
        Self::from_error(Code::Unsuitable, &error).hint("raise it in the configuration")
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Canceled(canceled) => canceled.into(),
            StreamError::Repository(error) => error.into(),
            StreamError::Block { ref source, .. } => {
                Self::from_error(repository_code(source), &error)
            }
            StreamError::Write { ref source, .. }
                if source.kind() == std::io::ErrorKind::StorageFull =>
            {
                Self::from_error(Code::NoSpace, &error)
            }
            _ => Self::from_error(Code::Failed, &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use thinmover_repository::StoreError;

    use super::*;

    #[test]
    fn what_the_system_reported_is_found_behind_each_layers_error() {
        let read_only = || io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
        let kind = |cause: Option<&io::Error>| cause.map(io::Error::kind);
        let lvm = LvmError::Io {
            action: "create",
            path: PathBuf::from("/usr/image"),
            source: read_only(),
        };
        assert_eq!(kind(io_cause(&lvm)), Some(io::ErrorKind::ReadOnlyFilesystem));
        assert_eq!(kind(io_cause(&LvmError::NotRoot)), None);
        let stored = RepositoryError::Store(StoreError {
            kind: StoreErrorKind::PermissionDenied,
            action: "create",
            key: "session".into(),
            place: "file:///usr/backup".into(),
            cause: Some(read_only()),
        });
        assert_eq!(kind(store_cause(&stored)), Some(io::ErrorKind::ReadOnlyFilesystem));
        let failed = RepositoryError::UploadFailed { cause: Arc::new(stored) };
        assert_eq!(kind(store_cause(&failed)), Some(io::ErrorKind::ReadOnlyFilesystem));
        assert_eq!(kind(store_cause(&RepositoryError::Canceled)), None);
    }
}
