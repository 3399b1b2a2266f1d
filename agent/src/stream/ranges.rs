//! What of a source is read, in which pieces.

use std::io;
use std::ops::Range;

/// A piece of the source: `length` bytes at `offset`, a whole number of image blocks but for the
/// source's tail. `sequence` counts the pieces from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) sequence: u64,
    pub(super) offset: u64,
    pub(super) length: usize,
}

/// How many bytes an upload of these extents reads; see [`pieces`].
///
/// # Errors
/// When an extent cannot be had.
pub(crate) fn planned_bytes(
    extents: impl Iterator<Item = io::Result<Range<u64>>>,
    size_bytes: u64,
    block_bytes: u32,
) -> io::Result<u64> {
    blocks(extents, size_bytes, u64::from(block_bytes))
        .try_fold(0, |sum, range| range.map(|range| sum + (range.end - range.start)))
}

/// Cuts `extents` (in bytes, ascending, disjoint) of a source into pieces of at most `piece_bytes`,
/// which is a multiple of `block_bytes`: every image block that an extent touches is in one piece,
/// whole, and no other is. What lies beyond the source's end is left out.
pub(super) fn pieces(
    extents: impl Iterator<Item = io::Result<Range<u64>>>,
    size_bytes: u64,
    block_bytes: usize,
    piece_bytes: usize,
) -> impl Iterator<Item = io::Result<Piece>> {
    let mut ranges = blocks(extents, size_bytes, block_bytes as u64);
    let (mut left, mut sequence) = (0..0, 0);
    std::iter::from_fn(move || {
        if left.is_empty() {
            left = match ranges.next()? {
                Ok(range) => range,
                Err(error) => return Some(Err(error)),
            };
        }
        let length = usize::try_from(left.end - left.start).unwrap_or(usize::MAX).min(piece_bytes);
        let piece = Piece { sequence, offset: left.start, length };
        left.start += length as u64;
        sequence += 1;
        Some(Ok(piece))
    })
}

/// The extents rounded out to image blocks, and what touches joined.
fn blocks(
    mut extents: impl Iterator<Item = io::Result<Range<u64>>>,
    size_bytes: u64,
    block_bytes: u64,
) -> impl Iterator<Item = io::Result<Range<u64>>> {
    let mut pending: Option<Range<u64>> = None;
    let mut failed = None;
    std::iter::from_fn(move || {
        loop {
            if let Some(error) = failed.take() {
                return Some(Err(error));
            }
            let extent = match extents.next() {
                None => return pending.take().map(Ok),
                Some(Ok(extent)) => extent,
                Some(Err(error)) => {
                    failed = Some(error);
                    if let Some(range) = pending.take() {
                        return Some(Ok(range));
                    }
                    continue;
                }
            };
            let start = extent.start / block_bytes * block_bytes;
            let end = extent.end.div_ceil(block_bytes).saturating_mul(block_bytes).min(size_bytes);
            match &mut pending {
                _ if start >= end => {}
                Some(range) if start <= range.end => range.end = range.end.max(end),
                _ => {
                    if let Some(range) = pending.replace(start..end) {
                        return Some(Ok(range));
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLOCK: usize = 4096;

    fn cut(extents: &[Range<u64>], size_bytes: u64) -> Vec<Piece> {
        let extents = extents.iter().cloned().map(Ok);
        pieces(extents, size_bytes, BLOCK, 4 * BLOCK).map(Result::unwrap).collect()
    }

    #[test]
    fn pieces_of_a_whole_source_cover_it_once_and_in_order() {
        for size in [0, 1, 4096, 8191, 8192, 70_000] {
            let mut at = 0;
            for (piece, sequence) in cut(&[0..size], size).into_iter().zip(0..) {
                assert_eq!((piece.sequence, piece.offset), (sequence, at));
                assert!(piece.length > 0 && piece.length <= 4 * BLOCK);
                at += piece.length as u64;
            }
            assert_eq!(at, size);
        }
    }

    #[test]
    fn an_extent_that_cannot_be_had_is_an_error_after_those_before_it() {
        let lost = || Err(io::ErrorKind::UnexpectedEof.into());
        let extents = [Ok(0..1), lost(), Ok(40_000..40_001)];
        let mut pieces = pieces(extents.into_iter(), 1 << 20, BLOCK, BLOCK);
        assert_eq!(pieces.next().unwrap().unwrap().offset, 0);
        assert!(pieces.next().unwrap().is_err());
    }

    proptest! {
        #[test]
        fn every_block_that_an_extent_touches_is_in_one_piece_and_no_other_is(
            cuts in prop::collection::btree_set(0_u64..300_000, 0..20),
            size in 0_u64..300_000,
        ) {
            let cuts: Vec<u64> = cuts.into_iter().collect();
            let extents: Vec<_> = cuts.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
            let mut read = vec![0_u8; usize::try_from(size).unwrap()];
            let mut planned = 0;
            for piece in cut(&extents, size) {
                prop_assert!(piece.offset.is_multiple_of(BLOCK as u64));
                let start = usize::try_from(piece.offset).unwrap();
                read[start..start + piece.length].iter_mut().for_each(|count| *count += 1);
                planned += piece.length as u64;
            }
            let touched = |block: u64| {
                let block = block * BLOCK as u64..(block + 1) * BLOCK as u64;
                extents.iter().any(|extent| extent.start < block.end && block.start < extent.end)
            };
            for (offset, &count) in (0..).zip(&read) {
                prop_assert_eq!(count, u8::from(touched(offset / BLOCK as u64)), "{}", offset);
            }
            let extents = extents.into_iter().map(Ok);
            let expected = planned_bytes(extents, size, u32::try_from(BLOCK).unwrap()).unwrap();
            prop_assert_eq!(planned, expected);
        }
    }
}
