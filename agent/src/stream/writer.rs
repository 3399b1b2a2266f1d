//! One writer of a download: opens and verifies what a range of a pack holds, straight into what is
//! written; clears holes.

use thinmover_io::BufferPool;
use thinmover_repository::{Opener, PackRead};

use super::download::{Download, Downloaded};
use super::merge::Merge;
use super::{Progress, StreamError, is_hole};

/// What is read at once to see whether it is zeroes already, in bytes.
const PROBE_BYTES: usize = 1 << 20;
/// Zeroes are written to so much at a time, in bytes, and only where it is not zeroes. No chunk of dm-thin
/// begins or ends within it, so a chunk that is not there is not brought into use, which in a pool that
/// does not zero would show old bytes in the rest of it.
const PIECE_BYTES: u64 = 64 << 10;

/// Writes to the target of one download and counts what it did.
pub(super) struct Writer<'a> {
    job: &'a Download<'a>,
    progress: &'a Progress,
    done: Downloaded,
    merge: Merge<'a>,
    /// One buffer.
    probe: BufferPool,
    opener: Opener<'a>,
    /// The last blob that belongs to several places; kept for its memory.
    plain: Vec<u8>,
}

impl<'a> Writer<'a> {
    /// The most memory it takes for blocks of `block_bytes`, in bytes: a block compressed and plain
    /// beside the two that stand here.
    pub(super) fn memory_bytes(block_bytes: usize) -> usize {
        Merge::memory_bytes(block_bytes.max(PROBE_BYTES)) + PROBE_BYTES + 2 * block_bytes
    }

    pub(super) fn new(job: &'a Download<'a>, progress: &'a Progress) -> Result<Self, StreamError> {
        let block_bytes = job.image.root().block_bytes() as usize;
        Ok(Self {
            job,
            progress,
            done: Downloaded::default(),
            merge: Merge::new(job.target, block_bytes.max(PROBE_BYTES)),
            probe: BufferPool::new(1, PROBE_BYTES),
            opener: job.image.opener()?,
            plain: Vec::new(),
        })
    }

    /// Returns once everything is written, though not durable: what was done.
    pub(super) fn finish(self) -> Result<Downloaded, StreamError> {
        Ok(Downloaded { written_bytes: self.merge.finish()?, ..self.done })
    }

    /// Writes the image blocks that `read` holds; `bytes` are those of its range.
    pub(super) fn restore(&mut self, read: &PackRead, bytes: &[u8]) -> Result<(), StreamError> {
        let Self { opener, merge, plain, .. } = self;
        let block_bytes = self.job.block_bytes();
        for blob in &read.blobs {
            let length = blob.plain_bytes() as usize;
            let damaged = |source| {
                let offset = blob.blocks.first().unwrap_or(&0) * block_bytes;
                StreamError::Block { offset, length: length as u64, source }
            };
            if let [block] = blob.blocks[..] {
                merge.put(block * block_bytes, length, |place| {
                    opener.open_into(read, bytes, blob, place).map_err(damaged)
                })?;
            } else {
                opener.open(read, bytes, blob, plain).map_err(damaged)?;
                for block in &blob.blocks {
                    merge.put(block * block_bytes, length, |place| {
                        place.copy_from_slice(plain);
                        Ok(())
                    })?;
                }
            }
            self.progress.add_done_bytes((length * blob.blocks.len()) as u64);
        }
        merge.flush()
    }

    /// Writes `plain` at `offset`.
    pub(super) fn put(&mut self, offset: u64, plain: &[u8]) -> Result<(), StreamError> {
        self.merge.put(offset, plain.len(), |place| {
            place.copy_from_slice(plain);
            Ok(())
        })
    }

    /// Writes `length` zeroes at `offset`, so that the device has room for them from then on.
    pub(super) fn put_zeroes(&mut self, offset: u64, length: u64) -> Result<(), StreamError> {
        let end = offset + length;
        let mut at = offset;
        while at < end {
            let step = usize::try_from(end - at).map_or(PROBE_BYTES, |left| left.min(PROBE_BYTES));
            self.put(at, &vec![0; step])?;
            at += step as u64;
        }
        Ok(())
    }

    /// Makes `length` bytes at `offset` read as zeroes: a discard, which a device may ignore in
    /// part, then zeroes where it did.
    pub(super) fn clear(&mut self, offset: u64, length: u64) -> Result<(), StreamError> {
        if self.job.is_zero_in_holes() {
            return Ok(());
        }
        if !self.job.blank && self.job.target.direct().discard(offset, length).is_ok() {
            self.done.discarded_bytes += length;
        }
        let end = offset + length;
        let mut at = offset;
        while at < end {
            at += self.write_zeroes_where_needed(at, end - at)? as u64;
        }
        self.merge.flush()
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
        let mut done = 0;
        while done < length {
            let start = at + done as u64;
            let whole = PIECE_BYTES - start % PIECE_BYTES;
            let piece = usize::try_from(whole).map_or(length - done, |n| n.min(length - done));
            if !is_hole(&buffer[done..done + piece]) {
                self.merge.put(start, piece, |place| {
                    place.fill(0);
                    Ok(())
                })?;
            }
            done += piece;
        }
        Ok(length)
    }
}
