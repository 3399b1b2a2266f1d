//! Comparing a target with an image: its blocks are read, their ids computed, and nothing is fetched
//! of what is the same.

use crossbeam_channel::unbounded;
use thinmover_io::{BufferPool, Completion, IoFile, Request};
use thinmover_repository::{Id, Image};

use super::blocks::{BlockCursor, Runs};
use super::{Cancel, Limits, Progress, StreamError, is_hole};

/// Finds the blocks in which a target is not what an image has there; behind the image's end it is to be
/// zeroes.
pub(crate) struct Comparison<'a> {
    image: &'a Image,
    target: &'a IoFile,
    blocks: BlockCursor<'a>,
    limits: &'a Limits,
    pool: BufferPool,
    read_bytes: u64,
}

/// A read of neighbouring blocks: `count` of them, from the `first` of a batch on.
struct Piece {
    first: usize,
    count: usize,
}

impl<'a> Comparison<'a> {
    /// Of the blocks in `blocks`, which may reach beyond the image's end and not the target's.
    pub(crate) fn new(
        image: &'a Image,
        target: &'a IoFile,
        blocks: Runs<'a>,
        limits: &'a Limits,
    ) -> Self {
        let buffer_bytes = limits.buffer_bytes.max(image.root().block_bytes() as usize);
        let pool = BufferPool::new(limits.buffers, buffer_bytes);
        let blocks = BlockCursor::new(blocks);
        Self { image, target, blocks, limits, pool, read_bytes: 0 }
    }

    /// What was read of the target so far, in bytes.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// Looks at some more blocks and returns the numbers of those that differ, ascending, perhaps none;
    /// `None` behind the last.
    ///
    /// # Errors
    /// `Plan` where the blocks cannot be had, `Read`, `Canceled`, and what reading a node can meet.
    pub(crate) fn next_batch(
        &mut self,
        progress: &Progress,
        cancel: &Cancel,
    ) -> Result<Option<Vec<u64>>, StreamError> {
        let blocks = self.blocks.next(self.limits.window_blocks).map_err(StreamError::Plan)?;
        if blocks.is_empty() {
            return Ok(None);
        }
        let known = blocks.partition_point(|&block| block < self.image.root().blocks());
        let mut ids = self.image.block_ids(&blocks[..known])?;
        ids.resize(blocks.len(), Id::HOLE);

        let block_bytes = self.block_bytes();
        let mut pieces = pieces(&blocks, self.limits.buffer_bytes / self.image_block());
        let (answer, answers) = unbounded();
        let (mut in_flight, mut differing) = (Vec::new(), Vec::new());
        in_flight.resize_with(self.limits.buffers, || None);
        let mut free: Vec<usize> = (0..self.limits.buffers).collect();
        loop {
            while let Some(slot) = free.pop() {
                let Some(piece) = pieces.next() else { break };
                let offset = blocks[piece.first] * block_bytes;
                let wanted = piece.count as u64 * block_bytes;
                let length = wanted.min(self.target.size_bytes().saturating_sub(offset));
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                let tag = slot as u64;
                self.target
                    .read(Request { tag, offset, length, buffer: self.pool.take() }, &answer);
                in_flight[slot] = Some(piece);
            }
            if in_flight.iter().all(Option::is_none) {
                break;
            }
            cancel.check()?;
            let done = answers.recv().map_err(|_| StreamError::Lost)?;
            let Completion { tag, offset, length, result } = done;
            let slot = usize::try_from(tag).unwrap_or(usize::MAX);
            let piece = in_flight.get_mut(slot).and_then(Option::take).ok_or(StreamError::Lost)?;
            free.push(slot);
            let buffer = result.map_err(|source| StreamError::Read { offset, length, source })?;
            self.read_bytes += length as u64;
            progress.add_done_bytes(length as u64);
            let bytes = buffer[..length].chunks(self.image_block());
            for (bytes, at) in bytes.zip(piece.first..piece.first + piece.count) {
                if !self.is_same(blocks[at], ids[at], bytes) {
                    differing.push(blocks[at]);
                }
            }
        }
        differing.sort_unstable();
        Ok(Some(differing))
    }

    /// Whether `bytes` of the target are what the image has as `block`, whose id is `id`.
    fn is_same(&self, block: u64, id: Id, bytes: &[u8]) -> bool {
        let own = self.image.root().block_length(block) as usize;
        let (own, behind) = bytes.split_at(own.min(bytes.len()));
        is_hole(behind) && self.image.block_id(own) == id
    }

    fn image_block(&self) -> usize {
        self.image.root().block_bytes() as usize
    }

    fn block_bytes(&self) -> u64 {
        u64::from(self.image.root().block_bytes())
    }
}

/// Cuts `blocks` into reads of up to `most` (at least 1) neighbours.
fn pieces(blocks: &[u64], most: usize) -> impl Iterator<Item = Piece> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let rest = blocks.get(first..).filter(|rest| !rest.is_empty())?;
        let neighbours = rest.windows(2).take_while(|pair| pair[0] + 1 == pair[1]).count() + 1;
        let piece = Piece { first, count: neighbours.min(most.max(1)) };
        first += piece.count;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_of_neighbours_and_no_longer_than_a_buffer() {
        let cut = |blocks: &[u64]| -> Vec<_> {
            pieces(blocks, 3).map(|piece| (piece.first, piece.count)).collect()
        };
        assert_eq!(cut(&[]), []);
        assert_eq!(cut(&[7]), [(0, 1)]);
        assert_eq!(cut(&[1, 2, 3, 4, 9, 10, 12]), [(0, 3), (3, 1), (4, 2), (6, 1)]);
    }
}
