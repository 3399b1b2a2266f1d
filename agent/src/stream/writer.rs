//! One writer of a download: opens and verifies what a range of a pack holds, and writes neighbours
//! together; clears holes.

use thinmover_io::{ALIGNMENT, BufferPool, PooledBuffer, WriteBehind};
use thinmover_repository::{Opener, PackRead};

use super::download::{Download, Downloaded};
use super::{Progress, StreamError, is_hole};

/// Neighbouring image blocks are merged into writes of up to this many bytes.
const WRITE_BYTES: usize = 1 << 20;

/// Writes that one writer has in flight while it opens what comes next.
const DEPTH: usize = 2;

/// Writes to the target of one download and counts what it did.
pub(super) struct Writer<'a> {
    job: &'a Download<'a>,
    progress: &'a Progress,
    done: Downloaded,
    behind: WriteBehind,
    /// What is read to see whether it is zeroes already: one buffer.
    probe: BufferPool,
    buffer: PooledBuffer,
    /// Where on the target the buffer's first byte belongs, in bytes.
    offset: u64,
    /// How much of the buffer is to be written, in bytes.
    filled: usize,
    opener: Opener<'a>,
    /// What the last range of a pack held, and the last blob of it; kept for their memory.
    range: Vec<u8>,
    plain: Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(job: &'a Download<'a>, progress: &'a Progress) -> Result<Self, StreamError> {
        let block_bytes = usize::try_from(job.block_bytes()).unwrap_or(WRITE_BYTES);
        let behind = WriteBehind::new(DEPTH, WRITE_BYTES.max(block_bytes));
        Ok(Self {
            job,
            progress,
            done: Downloaded::default(),
            buffer: behind.buffer(),
            behind,
            probe: BufferPool::new(1, WRITE_BYTES),
            offset: 0,
            filled: 0,
            opener: job.image.opener()?,
            range: Vec::new(),
            plain: Vec::new(),
        })
    }

    /// Returns once everything is written, though not durable: what was done.
    pub(super) fn finish(mut self) -> Result<Downloaded, StreamError> {
        self.behind.finish()?;
        Ok(self.done)
    }

    /// Writes the image blocks that `read` holds.
    pub(super) fn restore(&mut self, read: &PackRead) -> Result<(), StreamError> {
        let block_bytes = self.job.block_bytes();
        let mut range = std::mem::take(&mut self.range);
        let mut plain = std::mem::take(&mut self.plain);
        self.job.image.fetch(read, &mut range).map_err(|source| {
            let blocks = || read.blobs.iter().flat_map(|blob| &blob.blocks);
            let (first, last) = (blocks().min().unwrap_or(&0), blocks().max().unwrap_or(&0));
            let (offset, end) = (first * block_bytes, (last + 1) * block_bytes);
            StreamError::Block { offset, length: end - offset, source }
        })?;
        for blob in &read.blobs {
            self.opener.open(read, &range, blob, &mut plain).map_err(|source| {
                let offset = blob.blocks.first().unwrap_or(&0) * block_bytes;
                StreamError::Block { offset, length: u64::from(blob.plain_bytes()), source }
            })?;
            for block in &blob.blocks {
                self.append(block * block_bytes, &plain)?;
                self.progress.add_done_bytes(plain.len() as u64);
            }
        }
        (self.range, self.plain) = (range, plain);
        self.flush()
    }

    fn append(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StreamError> {
        let adjoins = self.offset + self.filled as u64 == offset;
        if !adjoins || self.filled + bytes.len() > self.buffer.len() {
            self.flush()?;
            self.offset = offset;
        }
        self.buffer[self.filled..self.filled + bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        let (offset, filled) = (self.offset, std::mem::take(&mut self.filled));
        if filled == 0 {
            return Ok(());
        }
        // Only the image's tail can need it; see `Download::padded_end`.
        let room = self.job.target.size_bytes() - offset;
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let length = filled.next_multiple_of(ALIGNMENT).min(room);
        self.buffer[filled..length].fill(0);
        self.behind.write(self.job.target, &mut self.buffer, length, offset)?;
        self.done.written_bytes += length as u64;
        Ok(())
    }

    /// Makes `length` bytes at `offset` read as zeroes: a discard, which a device may ignore in
    /// part, then zeroes where it did.
    pub(super) fn clear(&mut self, offset: u64, length: u64) -> Result<(), StreamError> {
        if !self.job.blank {
            if self.job.target.direct().discard(offset, length).is_ok() {
                self.done.discarded_bytes += length;
            }
            let end = offset + length;
            let mut at = offset;
            while at < end {
                at += self.write_zeroes_where_needed(at, end - at)? as u64;
            }
        }
        Ok(())
    }

    /// Handles as much of the range as a buffer holds and returns how much that was.
    fn write_zeroes_where_needed(&mut self, at: u64, left: u64) -> Result<usize, StreamError> {
        let buffer = self.probe.take();
        let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let buffer = self
            .job
            .target
            .read_now(buffer, length, at)
            .map_err(|source| StreamError::Read { offset: at, length, source })?;
        self.done.read_bytes += length as u64;
        if !is_hole(&buffer[..length]) {
            self.buffer[..length].fill(0);
            (self.offset, self.filled) = (at, length);
            self.flush()?;
        }
        Ok(length)
    }
}
