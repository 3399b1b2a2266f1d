//! What an upload or a download does, step by step: find the volume, guard, snapshot, run the data
//! path, commit, put everything back. The same engine serves `--standalone` and the agent.
//!
//! It joins `lvm` (which knows the host) with `stream` and `repository` (which are handed open
//! files only); it prints nothing.

mod choose;
mod delete;
mod download;
mod engine;
mod failures;
mod last_backup;
mod pool_watch;
mod upload;

pub(crate) use choose::Latest;
pub(crate) use delete::delete_backup;
pub(crate) use download::{DownloadReport, DownloadSpec, Which};
pub(crate) use engine::Engine;
pub(crate) use upload::{CopyMethod, UploadReport, UploadSpec};
