//! What an upload does with which range of its source, cut into pieces.

use std::ops::Range;
use std::{io, iter};

/// What becomes of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// It is read.
    Read,
    /// It is known to be zeroes and is not read.
    Hole,
}

/// Whole image blocks (but for the source's tail), and what becomes of them.
pub(crate) type Planned = io::Result<(Range<u64>, Part)>;

/// A piece of the source: `length` bytes at `offset`, whole image blocks but for the source's tail.
/// `sequence` counts the pieces from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) sequence: u64,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) part: Part,
}

/// How many bytes are read.
///
/// # Errors
/// When a range cannot be had.
pub(crate) fn planned_bytes(mut plan: impl Iterator<Item = Planned>) -> io::Result<u64> {
    plan.try_fold(0, |sum, planned| match planned? {
        (range, Part::Read) => Ok(sum + (range.end - range.start)),
        (_, Part::Hole) => Ok(sum),
    })
}

/// Cuts what is to be read into pieces of at most `piece_bytes`, a multiple of the image block.
pub(super) fn pieces(
    mut plan: impl Iterator<Item = Planned>,
    piece_bytes: usize,
) -> impl Iterator<Item = io::Result<Piece>> {
    let (mut left, mut part, mut sequence) = (0..0, Part::Hole, 0);
    iter::from_fn(move || {
        if left.is_empty() {
            (left, part) = match plan.next()? {
                Ok(planned) => planned,
                Err(error) => return Some(Err(error)),
            };
        }
        let most = if part == Part::Read { piece_bytes as u64 } else { u64::MAX };
        let length = (left.end - left.start).min(most);
        let piece = Piece { sequence, offset: left.start, length, part };
        left.start += length;
        sequence += 1;
        Some(Ok(piece))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_what_is_planned_once_and_in_order() {
        let plan = || {
            [(0..70, Part::Read), (70..1000, Part::Hole), (1010..1020, Part::Read)]
                .into_iter()
                .map(Ok)
        };
        let pieces: Vec<Piece> = pieces(plan(), 32).map(Result::unwrap).collect();
        let cut: Vec<_> = pieces.iter().map(|piece| (piece.offset, piece.length)).collect();
        assert_eq!(cut, [(0, 32), (32, 32), (64, 6), (70, 930), (1010, 10)]);
        assert!(pieces.iter().zip(0..).all(|(piece, sequence)| piece.sequence == sequence));
        assert_eq!(pieces.iter().filter(|piece| piece.part == Part::Hole).count(), 1);
        assert_eq!(planned_bytes(plan()).unwrap(), 80);
    }

    #[test]
    fn a_range_that_cannot_be_had_is_an_error_after_those_before_it() {
        let lost = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let plan = || [Ok((0..1, Part::Read)), Err(lost()), Ok((2..3, Part::Read))].into_iter();
        let mut pieces = pieces(plan(), 32);
        assert_eq!(pieces.next().unwrap().unwrap().offset, 0);
        assert!(pieces.next().unwrap().is_err());
        assert!(planned_bytes(plan()).is_err());
    }
}
