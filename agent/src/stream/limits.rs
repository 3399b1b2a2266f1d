//! How much the data path may hold and how many threads it runs.

const MIB: usize = 1 << 20;

/// What the process has beside the figures below: its code, its stacks, an index run being read or
/// written (15 MiB at most).
const FIXED_BYTES: usize = 24 * MIB;
/// The unit of reads, unless an image block is larger.
const BUFFER_BYTES: usize = 2 * MIB;
/// Image blocks whose ids a download holds at a time; with their places in packs about 5 MiB.
const WINDOW_BLOCKS: usize = 16 * 1024;
/// Reads in flight gain nothing beyond this many.
const BUFFERS_MAX: usize = 64;
/// Writers gain nothing beyond this many.
const WRITERS_MAX: usize = 4;

/// The bounds of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Threads that hash, compress and seal.
    pub(crate) workers: usize,
    /// Threads that fetch, open and verify in a download: they wait for the repository in turn.
    pub(crate) writers: usize,
    /// Buffers that circulate between the source and the workers; each may hold a read in flight.
    pub(crate) buffers: usize,
    /// Size of each in bytes: the unit of reads.
    pub(crate) buffer_bytes: usize,
    /// Image blocks whose ids a download holds at a time.
    pub(crate) window_blocks: usize,
    /// What an upload knows of the blocks that are stored, or a download of where they lie, in
    /// bytes.
    pub(crate) index_bytes: usize,
}

/// What the data path of one job may take, whatever the volume and the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DataPath {
    /// All it may hold in memory, in bytes.
    pub(crate) memory_bytes: usize,
    /// Threads that hash, compress and seal, if there is memory for them.
    pub(crate) workers: usize,
}

impl DataPath {
    /// The largest number of CPU workers that is the default: more would take the host from its
    /// workload.
    pub(crate) const DEFAULT_WORKERS_MAX: usize = 4;
    /// Enough for two workers and two million known blocks.
    pub(crate) const DEFAULT_MEMORY_BYTES: usize = 128 * MIB;

    /// Shares the memory out for image blocks of `block_bytes`: half to the index; of the other half
    /// an upload has two quarters, for the buffers of the volume's side and for the workers, and a
    /// download all, for the writers. However little it is, there are one of each and two buffers.
    pub(crate) fn limits(&self, block_bytes: u32) -> Limits {
        let block_bytes = block_bytes as usize;
        let shared = self.memory_bytes.saturating_sub(FIXED_BYTES);
        let buffer_bytes = BUFFER_BYTES.max(block_bytes);
        Limits {
            workers: (shared / 4 / worker_bytes(block_bytes)).clamp(1, self.workers.max(1)),
            writers: (shared / 2 / writer_bytes(block_bytes)).clamp(1, WRITERS_MAX),
            buffers: (shared / 4 / buffer_bytes).clamp(2, BUFFERS_MAX),
            buffer_bytes,
            window_blocks: WINDOW_BLOCKS,
            index_bytes: shared / 2,
        }
    }
}

/// A segment of 4 MiB and the block that ends it, in a vector that grows by doubling; three writes of
/// a pack; the compressor.
fn worker_bytes(block_bytes: usize) -> usize {
    12 * MIB + 2 * block_bytes
}

/// A range of a pack (4 MiB, or one block), three writes of 1 MiB or one block, a probe, and the block
/// compressed and plain.
fn writer_bytes(block_bytes: usize) -> usize {
    5 * MIB + 3 * MIB.max(block_bytes) + 3 * block_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(memory_bytes: usize, workers: usize, block_bytes: u32) -> Limits {
        DataPath { memory_bytes, workers }.limits(block_bytes)
    }

    #[test]
    fn the_default_has_room_for_two_workers_and_a_deep_queue() {
        let limits = limits(DataPath::DEFAULT_MEMORY_BYTES, 2, 256 << 10);
        assert_eq!((limits.workers, limits.writers, limits.buffers), (2, 4, 13));
        assert_eq!((limits.buffer_bytes, limits.index_bytes), (2 * MIB, 52 * MIB));
    }

    #[test]
    fn little_memory_and_large_blocks_cost_threads_and_never_all_of_them() {
        for (memory_bytes, block_bytes) in [(0, 256 << 10), (48 * MIB, 8 << 20), (1, 8 << 20)] {
            let limits = limits(memory_bytes, 8, block_bytes);
            assert_eq!((limits.workers, limits.writers, limits.buffers), (1, 1, 2));
        }
        let large = limits(1 << 30, 8, 8 << 20);
        assert_eq!((large.workers, large.buffer_bytes), (8, 8 * MIB));
        assert_eq!(limits(16 << 30, 64, 65536).buffers, BUFFERS_MAX);
    }

    #[test]
    fn what_is_shared_out_is_within_the_memory() {
        for memory_bytes in (96..4096).step_by(32).map(|mib| mib * MIB) {
            for block_bytes in [64 << 10, 256 << 10, 1 << 20] {
                let limits = limits(memory_bytes, 64, block_bytes);
                let buffers = limits.buffers * limits.buffer_bytes;
                let upload = buffers + limits.workers * worker_bytes(block_bytes as usize);
                let download = limits.writers * writer_bytes(block_bytes as usize);
                for stages in [upload, download] {
                    assert!(FIXED_BYTES + stages + limits.index_bytes <= memory_bytes);
                }
            }
        }
    }
}
