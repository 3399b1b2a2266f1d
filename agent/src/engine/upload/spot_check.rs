//! A net under the rope: before an upload takes unchanged blocks from its base, a few of them are
//! read again and compared. What the pool's metadata says is the rope.

use std::io;
use std::ops::Range;

use thinmover_io::{BufferPool, IoFile};
use thinmover_repository::{Error as RepositoryError, Image};

use super::plan::ReadPlan;
use crate::stream::{StreamError, ranges};

/// Blocks picked at random among all that are taken from the base.
const ANYWHERE: usize = 12;
/// Blocks picked at random among those next to something that changed.
const AT_BORDERS: usize = 4;

/// A block that is not what the base has there.
pub(in crate::engine) struct Difference {
    /// Where it is, in bytes.
    pub(in crate::engine) offset: u64,
}

/// Why blocks could not be compared.
pub(in crate::engine) enum SpotCheckError {
    /// The base could not be read.
    Base(RepositoryError),
    /// The snapshot could not be read, or the plan.
    Read(StreamError),
}

impl From<StreamError> for SpotCheckError {
    fn from(error: StreamError) -> Self {
        Self::Read(error)
    }
}

/// Reads some of the blocks in `file` that `plan` takes from `base` and compares them: how many bytes
/// were read, and the first difference.
pub(in crate::engine) fn spot_check(
    file: &IoFile,
    plan: &mut ReadPlan,
    base: &Image,
) -> Result<(u64, Option<Difference>), SpotCheckError> {
    let block_bytes = base.root().block_bytes() as usize;
    let all = |range: Range<u64>| range;
    let mut blocks = pick(plan, ANYWHERE, block_bytes, all).map_err(StreamError::Plan)?;
    let ends = |range: Range<u64>| [range.start, range.end - 1].into_iter();
    blocks.extend(pick(plan, AT_BORDERS, block_bytes, ends).map_err(StreamError::Plan)?);
    blocks.sort_unstable();
    blocks.dedup();
    let ids = base.block_ids(&blocks).map_err(SpotCheckError::Base)?;
    let pool = BufferPool::new(1, block_bytes);
    let mut read_bytes = 0;
    for (block, id) in blocks.into_iter().zip(ids) {
        let offset = block * block_bytes as u64;
        let left = file.size_bytes().saturating_sub(offset);
        let length = usize::try_from(left).map_or(block_bytes, |left| left.min(block_bytes));
        let buffer = file
            .read_now(pool.take(), length, offset)
            .map_err(|source| StreamError::Read { offset, length, source })?;
        read_bytes += length as u64;
        if base.block_id(&buffer[..length]) != id {
            return Ok((read_bytes, Some(Difference { offset })));
        }
    }
    Ok((read_bytes, None))
}

/// At most `count` of the blocks that are taken from the base, at random among those that `which`
/// names of each range of them.
fn pick<I: Iterator<Item = u64>>(
    plan: &mut ReadPlan,
    count: usize,
    block_bytes: usize,
    which: impl Fn(Range<u64>) -> I,
) -> io::Result<Vec<u64>> {
    let Some(kept) = plan.kept()? else { return Ok(Vec::new()) };
    let mut failed = None;
    let picked = choose(kept, block_bytes as u64, which, count, &mut failed);
    failed.map_or(Ok(picked), Err)
}

fn choose<I: Iterator<Item = u64>>(
    kept: impl Iterator<Item = ranges::Item>,
    block_bytes: u64,
    which: impl Fn(Range<u64>) -> I,
    count: usize,
    failed: &mut Option<io::Error>,
) -> Vec<u64> {
    let ranges = kept.map_while(|range| range.map_err(|error| *failed = Some(error)).ok());
    let blocks = ranges
        .flat_map(|Range { start, end }| which(start / block_bytes..end.div_ceil(block_bytes)));
    fastrand::choose_multiple(blocks, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen<I: Iterator<Item = u64>>(
        kept: &[Range<u64>],
        which: impl Fn(Range<u64>) -> I,
    ) -> (Vec<u64>, Option<io::Error>) {
        let mut failed = None;
        let kept = kept.iter().map(|range| Ok(range.start * 8..range.end * 8));
        let mut chosen = choose(kept, 8, which, 5, &mut failed);
        chosen.sort_unstable();
        (chosen, failed)
    }

    #[test]
    fn a_choice_is_of_what_is_kept_and_bounded() {
        let kept = [0..3, 10..11, 500..100_000];
        for _ in 0..100 {
            let (blocks, failed) = chosen(&kept, |range| range);
            assert!(failed.is_none() && blocks.len() == 5);
            let is_kept = |block: &u64| kept.iter().any(|range| range.contains(block));
            assert!(blocks.iter().all(is_kept), "{blocks:?}");
        }
        assert_eq!(chosen(&kept[..1], |range| range).0, [0, 1, 2]);
        assert_eq!(chosen(&[], |range| range).0, [0; 0]);
        let mut failed = None;
        let lost = [Ok(0..8), Err(io::ErrorKind::UnexpectedEof.into())].into_iter();
        choose(lost, 8, |range| range, 5, &mut failed);
        assert!(failed.is_some());
    }
}
