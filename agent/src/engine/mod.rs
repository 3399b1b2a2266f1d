//! What an upload or a download does, step by step: find the volume, guard, snapshot, run the data
//! path, commit, put everything back. The same engine serves `--standalone` and the agent.
//!
//! It joins `lvm` (which knows the host) with `stream` and `repository` (which are handed open
//! files only); it prints nothing.

mod choose;
mod context;
mod current;
mod delete;
mod download;
mod failures;
mod last_backup;
mod pool_watch;
mod shared;
mod snapshots;
mod upload;

pub(crate) use choose::Latest;
pub(crate) use context::{Context, Milestone, Scope};
pub(crate) use current::CurrentEngine;
pub(crate) use delete::delete_backup;
pub(crate) use download::{DownloadReport, DownloadSpec, RestoreMode, Which};
pub(crate) use shared::{Engine, io_engine};
pub(crate) use snapshots::Warned;
pub(crate) use upload::{CopyMethod, Parent, UploadReport, UploadSpec};
