//! Chunks as ranges of bytes of a volume.

use std::ops::Range;

use super::delta::Change;
use super::error::MetadataError;
use super::node::KeyRange;
use super::runs::{Run, joined};
use super::values::{ChunkSize, ThinBlock};
use crate::units::Bytes;

/// A range of a volume, not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent {
    /// Where it begins.
    pub offset: Bytes,
    /// How long it is.
    pub length: Bytes,
}

/// A range of a volume that changed, not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangedExtent {
    /// The range.
    pub extent: Extent,
    /// How.
    pub change: Change,
}

/// Chunks side by side that are alike.
struct Chunks<M> {
    first: u64,
    last: u64,
    mark: M,
}

impl<M: PartialEq> Run for Chunks<M> {
    fn join(&mut self, next: &Self) -> bool {
        let follows = self.last + 1 == next.first && self.mark == next.mark;
        if follows {
            self.last = next.last;
        }
        follows
    }
}

/// The chunks that lie in a range of bytes, wholly or in part; `None` where the range is empty.
pub(super) fn chunks_in(within: &Range<Bytes>, chunk: ChunkSize) -> Option<KeyRange> {
    let (Bytes(start), Bytes(end)) = (within.start, within.end);
    let size = chunk.bytes().0;
    (start < end).then(|| KeyRange { first: start / size, last: (end - 1) / size })
}

/// Marked chunks, in order, as ranges of bytes with their marks: neighbours joined, and what is
/// not within `within` cut off.
pub(super) fn extents<M: PartialEq>(
    chunks: impl Iterator<Item = Result<(ThinBlock, M), MetadataError>>,
    size: ChunkSize,
    within: Range<Bytes>,
) -> impl Iterator<Item = Result<(Extent, M), MetadataError>> {
    let size = size.bytes().0;
    let chunk = |(thin, mark): (ThinBlock, M)| Chunks { first: thin.0, last: thin.0, mark };
    joined(chunks.map(move |next| next.map(chunk))).filter_map(move |run| {
        let run = match run {
            Ok(run) => run,
            Err(error) => return Some(Err(error)),
        };
        let start = run.first.saturating_mul(size).max(within.start.0);
        let end = (run.last + 1).saturating_mul(size).min(within.end.0);
        let extent = Extent { offset: Bytes(start), length: Bytes(end.saturating_sub(start)) };
        (start < end).then_some(Ok((extent, run.mark)))
    })
}
