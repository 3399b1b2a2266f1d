//! What a download has to do, in which pieces: reads of packs, and ranges that must be zeroes.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crossbeam_channel::Sender;
use thinmover_repository::{Id, PackRead, RangeBuffer, Window};

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

/// Hands out all the work but the first image block, which it returns.
pub(super) fn hand_out(
    job: &Download,
    limits: &Limits,
    to_fetchers: &Sender<PackRead>,
    to_writers: &Sender<Work>,
    failed: &AtomicBool,
) -> Result<Option<PackRead>, StreamError> {
    let clear = |offset, length| {
        steps(offset, length).try_for_each(|(offset, length)| {
            send(to_writers, Work::Hole { offset, length }, failed)
        })
    };
    let end = job.padded_end();
    let mut walk = job.image.walk();
    let mut first_block = None;
    while let Some(mut window) = walk.next_window(limits.window_blocks)? {
        for Extent { offset, length, hole } in extents(&window, job.block_bytes(), end) {
            if hole {
                clear(offset, length)?;
            } else {
                job.target.direct().reserve(offset, length);
            }
        }
        if window.first_block == 0 {
            let first = window.ids.iter_mut().next().map(|id| std::mem::replace(id, Id::HOLE));
            let first = Window { first_block: 0, ids: first.into_iter().collect() };
            first_block = job.image.plan(&first)?.pop();
        }
        for read in job.image.plan(&window)? {
            send(to_fetchers, read, failed)?;
        }
    }
    clear(end, job.target.size_bytes().saturating_sub(end))?;
    Ok(first_block)
}

/// An error of which the stage that ended knows more.
fn send<T>(to: &Sender<T>, work: T, failed: &AtomicBool) -> Result<(), StreamError> {
    if failed.load(Relaxed) || to.send(work).is_err() {
        return Err(StreamError::Lost);
    }
    Ok(())
}

/// A part of the target, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    offset: u64,
    length: u64,
    /// Whether it is to read as zeroes, or to be written.
    hole: bool,
}

/// The part of the target that is `window`, cut where holes begin and end; the image ends at `end`.
fn extents(window: &Window, block_bytes: u64, end: u64) -> Vec<Extent> {
    let mut extents: Vec<Extent> = Vec::new();
    for (block, id) in (window.first_block..).zip(&window.ids) {
        let offset = block * block_bytes;
        let length = block_bytes.min(end - offset);
        match extents.last_mut() {
            Some(last) if last.hole == id.is_hole() => last.length += length,
            _ => extents.push(Extent { offset, length, hole: id.is_hole() }),
        }
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
    fn a_window_is_cut_where_holes_begin_and_the_image_ends() {
        let (hole, data) = (Id::HOLE, Id([1; 32]));
        let window = Window { first_block: 2, ids: vec![hole, data, data, hole, hole] };
        let extent = |offset, length, hole| Extent { offset, length, hole };
        assert_eq!(
            extents(&window, 100, 650),
            [extent(200, 100, true), extent(300, 200, false), extent(500, 150, true)]
        );
    }
}
