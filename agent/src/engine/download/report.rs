//! What a download says that it did.

use serde::{Deserialize, Serialize};

use super::RestoreMode;
use crate::engine::upload::tier::Reason;

/// What a download did.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DownloadReport {
    /// The backup's id.
    pub(crate) id: String,
    pub(crate) job: String,
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) total_bytes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) discarded_bytes: u64,
    /// Of the target.
    pub(crate) read_bytes: u64,
    #[serde(default)]
    pub(crate) mode: RestoreMode,
    /// How much of the target was compared with the backup, and why that much; absent where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tier: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// In image blocks that were other than in the backup; absent where nothing was compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) differing_bytes: Option<u64>,
    /// `VG/LV` of the snapshot that has what the target held before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) undo_snapshot: Option<String>,
    pub(crate) seconds: f64,
    /// Whether the target held only zeroes before.
    pub(crate) blank: bool,
    pub(crate) dry_run: bool,
    /// Whether the target was written through the page cache, since its filesystem refuses O_DIRECT or
    /// its size is no multiple of a sector.
    #[serde(default)]
    pub(crate) page_cache: bool,
    pub(crate) warnings: Vec<String>,
}

impl DownloadReport {
    /// Whether the target or its pool is not what its last backup says it should be.
    pub(crate) fn is_alarming(&self) -> bool {
        self.reason.as_deref().is_some_and(Reason::is_alarming)
    }
}
