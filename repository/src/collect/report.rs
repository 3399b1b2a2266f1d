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
    /// How much is stored again to give space back.
    pub repack: RepackLimits,
}

/// Bounds of repacking: what is alive of containers that are more than half dead is stored again, and
/// so are small ones once there are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepackLimits {
    /// Bytes that are read and stored again in one run; 0 for none.
    pub bytes: u64,
    /// A container below this length in bytes is small.
    pub small_bytes: u64,
    /// So many small ones are worth a new pack.
    pub small_count: usize,
}

impl Default for RepackLimits {
    fn default() -> Self {
        // A quarter of a pack; an index object carries at most half as much.
        Self { bytes: 1 << 30, small_bytes: 8 << 20, small_count: 64 }
    }
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
    /// Length in bytes of what was stored again, so that mostly dead and small containers could go.
    pub repacked_bytes: u64,
    /// Digests that were made, so that listings cost less.
    pub digests: u64,
    /// What could not be repacked or refreshed, and why.
    pub warnings: Vec<String>,
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
