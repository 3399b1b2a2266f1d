//! How collection is asked for, and what it tells.

use std::path::PathBuf;
use std::time::Duration;

/// Choices and bounds of a collection.
#[derive(Clone, Debug)]
pub struct MaintainOptions {
    /// Uploads older than this, by their host's clock, are kept from committing. Never is safe; so is
    /// any age where the store's create-if-absent is atomic, and where it is not nobody is.
    pub fence_after: Option<Duration>,
    /// How long to wait for uploads that are under way.
    pub wait: Duration,
    /// Memory for ids, in bytes; the rest lies in `scratch`.
    pub memory_bytes: usize,
    /// A folder for files without a name.
    pub scratch: PathBuf,
}

/// How far a collection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaintainProgress {
    /// What is done, as a message says it.
    pub phase: &'static str,
    /// Of it done so far.
    pub done: u64,
    /// Of it in all; 0 where that is not known.
    pub total: u64,
}

/// What collection did in one domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Packs and index objects that were deleted because nothing live reaches them.
    pub deleted_containers: u64,
    /// Their length in bytes.
    pub deleted_bytes: u64,
    /// Index objects that were merged.
    pub merged_indexes: u64,
    /// Sessions that were kept from committing: ids.
    pub fenced: Vec<String>,
    /// How it ended.
    pub end: CollectionEnd,
}

/// How a collection of one domain ended. Whatever it is, the next one goes on from there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CollectionEnd {
    /// All that could go is gone.
    #[default]
    Finished,
    /// There was nothing to do.
    Idle,
    /// These uploads have not ended: nothing could be deleted yet.
    Waiting {
        /// Their ids.
        sessions: Vec<String>,
    },
    /// Somebody else collects the same domain.
    Contended,
}

/// What maintenance did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaintainReport {
    /// By domain, with the domain's id.
    pub domains: Vec<(String, Collected)>,
}
