//! Where metadata blocks are read from.

use std::io;
use std::ops::Deref;

use crossbeam_channel::{Receiver, Sender, unbounded};
use thinmover_io::{BufferPool, Completion, IoFile, PooledBuffer, Request};

use super::block::BLOCK_BYTES;
use super::values::MetadataBlock;

/// The most blocks that one read brings.
pub(super) const MAX_RUN_BLOCKS: usize = 16;

/// Something that reads blocks, several at a time and in any order.
pub trait BlockSource {
    /// The bytes of a finished read.
    type Bytes: Deref<Target = [u8]>;

    /// How many whole blocks there are.
    fn block_count(&self) -> u64;

    /// Whether another read may begin before one has finished.
    fn has_room(&self) -> bool;

    /// Begins to read `count` blocks from `first` on, all of them there. Only where it
    /// [`has_room`](Self::has_room).
    fn begin(&mut self, tag: u64, first: MetadataBlock, count: usize);

    /// Waits for one of the reads that were begun, and says which by its tag. There is one.
    fn finish(&mut self) -> (u64, io::Result<Self::Bytes>);
}

/// A file or device that an I/O engine reads.
#[derive(Debug)]
pub struct FileBlocks {
    file: IoFile,
    pool: BufferPool,
    answer: Sender<Completion>,
    answers: Receiver<Completion>,
    in_flight: usize,
}

impl FileBlocks {
    /// How many reads are under way at most. What a disk gives at 4 KiB a read grows up to about
    /// this depth.
    const DEPTH: usize = 64;

    /// Reads from `file`, in memory of 4 MiB.
    pub fn new(file: IoFile) -> Self {
        let (answer, answers) = unbounded();
        let pool = BufferPool::new(Self::DEPTH, MAX_RUN_BLOCKS * BLOCK_BYTES);
        Self { file, pool, answer, answers, in_flight: 0 }
    }
}

impl BlockSource for FileBlocks {
    type Bytes = PooledBuffer;

    fn block_count(&self) -> u64 {
        self.file.size_bytes() / BLOCK_BYTES as u64
    }

    fn has_room(&self) -> bool {
        self.in_flight < Self::DEPTH
    }

    fn begin(&mut self, tag: u64, first: MetadataBlock, count: usize) {
        self.in_flight += 1;
        // Never waits: fewer reads are under way than there are buffers, and a finished one's
        // buffer is dropped before the next begins.
        let buffer = self.pool.take();
        let (offset, length) = (first.0 * BLOCK_BYTES as u64, count * BLOCK_BYTES);
        self.file.read(Request { tag, offset, length, buffer }, &self.answer);
    }

    fn finish(&mut self) -> (u64, io::Result<PooledBuffer>) {
        // The engine answers every request, and this keeps an end of the channel open.
        match self.answers.recv() {
            Ok(Completion { tag, result, .. }) => {
                self.in_flight -= 1;
                (tag, result)
            }
            Err(closed) => (u64::MAX, Err(io::Error::other(closed))),
        }
    }
}
