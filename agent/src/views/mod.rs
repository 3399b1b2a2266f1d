//! What answers say of pools, volumes, snapshots and backups: the same documents from the socket
//! and from the command line's own process.

mod backup;
mod job;
mod pool;
mod repository;
mod snapshot;
mod status;
mod volume;

pub(crate) use backup::{Backup, Backups, DamagedBackup, Hold};
pub(crate) use job::{Job, JobEvent, Jobs};
pub(crate) use pool::Pools;
pub(crate) use repository::RepositoryStatus;
pub(crate) use snapshot::{Snapshot, Snapshots};
pub(crate) use status::{Check, Health};
pub(crate) use volume::Volumes;
