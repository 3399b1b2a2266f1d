//! What a download has to do, in which pieces: reads of packs, and ranges that must be zeroes.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crossbeam_channel::Sender;
use thinmover_repository::{Id, ImageWalk, PackRead, RangeBuffer};

use super::blocks::{BlockCursor, BlockRuns};
use super::download::Download;
use super::{Limits, StreamError};

/// How much of a hole one piece of work clears, in bytes.
const HOLE_STEP_BYTES: u64 = 16 << 20;

/// What a writer is given.
pub(super) enum Work {
    /// A range of a pack with the image blocks in it, and its bytes.
    Pack(PackRead, RangeBuffer),
    /// `length` bytes at `offset` of the target that must read as zeroes.
    Hole { offset: u64, length: u64 },
}

/// Which of its work a pass over the image hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    pub(super) data: bool,
    pub(super) holes: bool,
}

/// Where the stages that do the work take it from.
pub(super) struct Stages<'a> {
    pub(super) fetchers: &'a Sender<PackRead>,
    pub(super) writers: &'a Sender<Work>,
    /// Whether one of them has failed.
    pub(super) failed: &'a AtomicBool,
}

/// Hands out the work of one pass: over all of the target, or over `only` these blocks. Data of the first
/// image block is left out, unless nobody sees the target yet.
pub(super) fn hand_out(
    job: &Download,
    only: Option<&mut dyn BlockRuns>,
    pass: Pass,
    limits: &Limits,
    to: &Stages,
) -> Result<(), StreamError> {
    let (block_bytes, end, size) = (job.block_bytes(), job.padded_end(), job.target.size_bytes());
    let is_whole = only.is_none();
    let mut windows = match only {
        None => Windows::Whole(job.image.walk()),
        Some(only) => Windows::These(BlockCursor::new(only.runs().map_err(StreamError::Plan)?)),
    };
    while let Some(mut blocks) = windows.next(job, limits.window_blocks)? {
        let extents = extents(&blocks, block_bytes, end, size);
        if pass.data {
            for extent in extents.iter().filter(|extent| !extent.hole) {
                job.target.direct().reserve(extent.offset, extent.length);
            }
            if !job.unseen {
                blocks.retain(|(block, _)| *block > 0);
            }
            for read in job.image.plan_blocks(blocks)? {
                to.fetch(read)?;
            }
        }
        if pass.holes {
            let mut holes = extents.iter().filter(|extent| extent.hole);
            holes.try_for_each(|hole| to.clear(hole.offset, hole.length))?;
        }
    }
    let behind = job.image.root().blocks() * block_bytes;
    if pass.holes && is_whole && behind < size {
        to.clear(behind, size - behind)?;
    }
    Ok(())
}

impl Stages<'_> {
    fn fetch(&self, read: PackRead) -> Result<(), StreamError> {
        self.send(self.fetchers, read)
    }

    fn clear(&self, offset: u64, length: u64) -> Result<(), StreamError> {
        let mut steps = steps(offset, length);
        steps
            .try_for_each(|(offset, length)| self.send(self.writers, Work::Hole { offset, length }))
    }

    /// An error of which the stage that ended knows more.
    fn send<T>(&self, to: &Sender<T>, work: T) -> Result<(), StreamError> {
        if self.failed.load(Relaxed) || to.send(work).is_err() {
            return Err(StreamError::Lost);
        }
        Ok(())
    }
}

/// The blocks that a pass goes over, some at a time, with their ids.
enum Windows<'w> {
    /// All of the image.
    Whole(ImageWalk<'w>),
    These(BlockCursor<'w>),
}

impl Windows<'_> {
    /// At least one and at most `most` blocks; `None` behind the last.
    fn next(&mut self, job: &Download, most: usize) -> Result<Option<Vec<(u64, Id)>>, StreamError> {
        match self {
            Self::Whole(walk) => {
                let window = walk.next_window(most)?;
                Ok(window.map(|window| (window.first_block..).zip(window.ids).collect()))
            }
            Self::These(cursor) => {
                let blocks = cursor.next(most).map_err(StreamError::Plan)?;
                let known = blocks.partition_point(|&block| block < job.image.root().blocks());
                let ids = job.image.block_ids(&blocks[..known])?;
                let ids = ids.into_iter().chain(std::iter::repeat(Id::HOLE));
                Ok((!blocks.is_empty()).then(|| blocks.into_iter().zip(ids).collect()))
            }
        }
    }
}

/// A part of the target, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    offset: u64,
    length: u64,
    /// Whether it is to read as zeroes, or to be written.
    hole: bool,
}

/// The parts of the target that are `blocks`, cut where holes begin and end. The image's data ends at
/// `end` and the target, no sooner, at `size`; in between are zeroes.
fn extents(blocks: &[(u64, Id)], block_bytes: u64, end: u64, size: u64) -> Vec<Extent> {
    let mut extents: Vec<Extent> = Vec::new();
    let mut add = |from: u64, to: u64, hole: bool| match extents.last_mut() {
        _ if from >= to => {}
        Some(last) if last.hole == hole && last.offset + last.length == from => {
            last.length += to - from;
        }
        _ => extents.push(Extent { offset: from, length: to - from, hole }),
    };
    for (block, id) in blocks {
        let from = block * block_bytes;
        let to = (from + block_bytes).min(size);
        let data_to = if id.is_hole() { from } else { to.min(end) };
        add(from, data_to, false);
        add(data_to, to, true);
    }
    extents
}

/// Cuts a range into pieces that several writers can share.
fn steps(offset: u64, length: u64) -> impl Iterator<Item = (u64, u64)> {
    let end = offset + length;
    std::iter::successors(Some(offset), |at| Some(at + HOLE_STEP_BYTES))
        .take_while(move |&at| at < end)
        .map(move |at| (at, HOLE_STEP_BYTES.min(end - at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_cover_a_range_once() {
        for (offset, length) in [(0, 0), (5, 1), (7, HOLE_STEP_BYTES), (0, 3 * HOLE_STEP_BYTES + 1)]
        {
            let mut at = offset;
            for (start, step) in steps(offset, length) {
                assert_eq!(start, at);
                assert!(step > 0 && step <= HOLE_STEP_BYTES);
                at += step;
            }
            assert_eq!(at, offset + length);
        }
    }

    #[test]
    fn blocks_are_cut_where_holes_begin_and_the_image_ends() {
        let (hole, data) = (Id::HOLE, Id([1; 32]));
        let extent = |offset, length, hole| Extent { offset, length, hole };
        let cut = |blocks: &[(u64, Id)]| extents(blocks, 100, 650, 780);
        assert_eq!(
            cut(&[(2, hole), (3, data), (4, data), (5, hole), (6, hole)]),
            [extent(200, 100, true), extent(300, 200, false), extent(500, 200, true)]
        );
        assert_eq!(
            cut(&[(1, data), (3, data), (6, data), (7, hole)]),
            [
                extent(100, 100, false),
                extent(300, 100, false),
                extent(600, 50, false),
                extent(650, 130, true)
            ]
        );
        assert_eq!(cut(&[]), []);
    }
}
