//! How much the data path may hold and how many threads it runs.

use std::num::NonZeroUsize;

/// The bounds of one job. Memory in flight is `buffers × buffer_bytes` for the volume's side, plus a
/// few pack segments a worker and the deduplication index on the repository's side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Threads that hash, compress and seal, or open and verify.
    pub(crate) workers: usize,
    /// Threads that fetch, open and verify in a download: they wait for the repository in turn.
    pub(crate) writers: usize,
    /// Buffers that circulate between the source and the workers; each may hold a read in flight.
    pub(crate) buffers: usize,
    /// Size of each in bytes: the unit of reads.
    pub(crate) buffer_bytes: usize,
    /// Image blocks whose ids a download holds at a time.
    pub(crate) window_blocks: usize,
}

impl Limits {
    /// The largest number of CPU workers: more would take the host from its workload.
    pub(crate) const MAX_WORKERS: usize = 4;

    /// Bounds that keep the buffers of the volume's side within `memory_bytes`.
    pub(crate) fn within(memory_bytes: usize, workers: NonZeroUsize) -> Self {
        let buffer_bytes = 2 << 20;
        let buffers = (memory_bytes / buffer_bytes).clamp(2, 64);
        Self { workers: workers.get(), writers: 4, buffers, buffer_bytes, window_blocks: 16 * 1024 }
    }
}
