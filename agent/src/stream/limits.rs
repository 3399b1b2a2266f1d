//! How much the data path may hold and how many threads it runs.

use thinmover_repository::{PackRead, RangeBuffer};

use super::writer::Writer;

const MIB: usize = 1 << 20;

/// What the process has beside the figures below: its code, its stacks, an index run being read or
/// written (15 MiB at most).
const FIXED_BYTES: usize = 24 * MIB;
/// The unit of reads, unless an image block is larger.
const BUFFER_BYTES: usize = 2 * MIB;
/// Image blocks whose ids a download holds at a time; with their places in packs about 5 MiB.
const WINDOW_BLOCKS: usize = 16 * 1024;
/// Enough to know 196,608 stored blocks, or 48 GiB in blocks of the usual size.
const INDEX_BYTES_MIN: usize = 4 * MIB;
/// One being read while another is worked on.
const BUFFERS_MIN: usize = 2;
/// Reads in flight gain nothing beyond this many.
const BUFFERS_MAX: usize = 64;
/// Writers gain nothing beyond this many.
const WRITERS_MAX: usize = 4;
/// Nor do fetchers: reads of 4 MiB that are in flight beside the writes.
const FETCHERS_MAX: usize = 3;
/// As long as there is memory for a second writer: one range is read while another is handed over.
const FETCHERS_MIN: usize = 2;

/// The bounds of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Threads that hash, compress and seal.
    pub(crate) workers: usize,
    /// Threads that open, verify and write in a download.
    pub(crate) writers: usize,
    /// Threads that wait for the repository in a download. Each of both holds a range of a pack.
    pub(crate) fetchers: usize,
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

/// A job does not fit into the memory it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "with image blocks of {} KiB a job needs data_path.memory to be at least {} MiB",
    block_bytes >> 10, least_bytes.div_ceil(MIB)
)]
pub(crate) struct TooLittleMemory {
    /// Size of an image block in bytes.
    pub(crate) block_bytes: u32,
    /// What would do, in bytes.
    pub(crate) least_bytes: usize,
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

    /// Shares the memory out for image blocks of `block_bytes`: to an upload a quarter for the buffers
    /// of the volume's side and a quarter for the workers, to a download half for the writers and what
    /// is fetched for them, and to the index what is left, at most half.
    ///
    /// # Errors
    /// [`TooLittleMemory`] for blocks so large that not even one of each fits.
    pub(crate) fn limits(&self, block_bytes: u32) -> Result<Limits, TooLittleMemory> {
        self.limits_writing(block_bytes, 0)
    }

    /// As [`limits`](Self::limits), where the store holds `writer_bytes` more for each worker: they may
    /// then have half of it, since one that waits for a store leaves the processors to another.
    ///
    /// # Errors
    /// As [`limits`](Self::limits).
    pub(crate) fn limits_writing(
        &self,
        block_bytes: u32,
        writer_bytes: usize,
    ) -> Result<Limits, TooLittleMemory> {
        let bytes = block_bytes as usize;
        let (buffer, worker) = (BUFFER_BYTES.max(bytes), worker_bytes(bytes) + writer_bytes);
        let (writer, range) = (Writer::memory_bytes(bytes), range_bytes(bytes));
        let stages_min = (BUFFERS_MIN * buffer + worker).max(writer + 2 * range);
        let least = FIXED_BYTES + INDEX_BYTES_MIN + stages_min;
        if self.memory_bytes < least {
            return Err(TooLittleMemory { block_bytes, least_bytes: least });
        }
        let shared = self.memory_bytes - FIXED_BYTES;
        let for_workers = if writer_bytes > 0 { shared / 2 } else { shared / 4 };
        let workers = (for_workers / worker).clamp(1, self.workers.max(1));
        let writers = (shared / 2).saturating_sub(FETCHERS_MIN * range) / (writer + range);
        let writers = writers.clamp(1, WRITERS_MAX);
        let fetchers = (shared / 2).saturating_sub(writers * (writer + range)) / range;
        let fetchers = fetchers.clamp(1, FETCHERS_MAX);
        let beside_workers = shared.saturating_sub(INDEX_BYTES_MIN + workers * worker);
        let buffers = (shared / 4).min(beside_workers) / buffer;
        let buffers = buffers.clamp(BUFFERS_MIN, BUFFERS_MAX);
        let stages = (buffers * buffer + workers * worker)
            .max(writers * (writer + range) + fetchers * range);
        Ok(Limits {
            workers,
            writers,
            fetchers,
            buffers,
            buffer_bytes: buffer,
            window_blocks: WINDOW_BLOCKS,
            index_bytes: (shared - stages.min(shared)).min(shared / 2),
        })
    }
}

/// A segment of 4 MiB and the block that ends it, in a vector that grows by doubling; three writes of
/// a pack; the compressor.
fn worker_bytes(block_bytes: usize) -> usize {
    12 * MIB + 2 * block_bytes
}

fn range_bytes(block_bytes: usize) -> usize {
    RangeBuffer::memory_bytes(PackRead::longest_bytes(block_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(memory_bytes: usize, workers: usize, block_bytes: u32) -> Limits {
        DataPath { memory_bytes, workers }.limits(block_bytes).unwrap()
    }

    #[test]
    fn the_default_has_room_for_two_workers_and_a_deep_queue() {
        let limits = limits(DataPath::DEFAULT_MEMORY_BYTES, 2, 256 << 10);
        assert_eq!((limits.workers, limits.writers, limits.fetchers), (2, 3, 2));
        assert_eq!((limits.buffers, limits.buffer_bytes), (13, 2 * MIB));
        assert_eq!(limits.index_bytes, 52 * MIB);
    }

    #[test]
    fn a_store_that_holds_more_for_each_worker_costs_index_and_then_workers() {
        let path = |mib| DataPath { memory_bytes: mib * MIB, workers: 2 };
        let limits = |mib| path(mib).limits_writing(256 << 10, 9 * MIB).unwrap();
        // A bucket's parts: the default has room for two workers and 1.7 million known blocks.
        assert_eq!((limits(128).workers, limits(128).index_bytes), (2, 35 * MIB));
        assert_eq!((limits(56).workers, limits(56).index_bytes), (1, 4 * MIB + MIB / 2));
    }

    #[test]
    fn little_memory_costs_threads_and_never_all_of_them() {
        let little = limits(48 * MIB, 8, 256 << 10);
        assert_eq!((little.workers, little.writers, little.buffers), (1, 1, 3));
        let large = limits(1 << 30, 8, 8 << 20);
        assert_eq!((large.workers, large.buffer_bytes), (8, 8 * MIB));
        assert_eq!(limits(16 << 30, 64, 65536).buffers, BUFFERS_MAX);
    }

    #[test]
    fn too_little_is_refused_and_the_least_is_enough() {
        for block_bytes in [64 << 10, 256 << 10, 8 << 20] {
            let path = |memory_bytes| DataPath { memory_bytes, workers: 2 };
            let TooLittleMemory { least_bytes, .. } = path(0).limits(block_bytes).unwrap_err();
            path(least_bytes).limits(block_bytes).unwrap();
            let error = path(least_bytes - 1).limits(block_bytes).unwrap_err();
            assert!(error.to_string().contains("data_path.memory"), "{error}");
        }
    }

    #[test]
    fn what_is_shared_out_is_within_the_memory() {
        for memory_bytes in (48..4096).step_by(16).map(|mib| mib * MIB) {
            for block_bytes in [64 << 10, 256 << 10, 1 << 20, 8 << 20] {
                for writer_bytes in [0, 9 * MIB, 16 * MIB] {
                    let path = DataPath { memory_bytes, workers: 64 };
                    let Ok(limits) = path.limits_writing(block_bytes, writer_bytes) else {
                        continue;
                    };
                    let worker = worker_bytes(block_bytes as usize) + writer_bytes;
                    let upload = limits.buffers * limits.buffer_bytes + limits.workers * worker;
                    let ranges = limits.writers + limits.fetchers;
                    let download = limits.writers * Writer::memory_bytes(block_bytes as usize)
                        + ranges * range_bytes(block_bytes as usize);
                    let taken = FIXED_BYTES + limits.index_bytes + upload.max(download);
                    assert!(taken <= memory_bytes, "{taken} of {memory_bytes} for {limits:?}");
                    assert!(limits.index_bytes >= INDEX_BYTES_MIN, "{limits:?}");
                }
            }
        }
    }
}
