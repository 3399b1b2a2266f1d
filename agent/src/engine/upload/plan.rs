//! What an upload reads of a snapshot: what there is, or what changed since the base.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;

use thinmover_lvm::{Bytes, ChunkList, SinceBase};
use thinmover_repository::Image;

use crate::stream::ranges::{self, Within, difference, overlay, rounded, union};
use crate::stream::{Part, Planned};

/// Lists of chunks of one snapshot, and what follows from them.
pub(in crate::engine) struct ReadPlan {
    chunk_bytes: u64,
    size_bytes: u64,
    block_bytes: u32,
    /// All chunks there are.
    mapped: ChunkList,
    /// Whether the list of them is partly the base's.
    is_derived: bool,
    /// `None` where there is no base.
    since: Option<Since>,
}

/// What changed since the base.
struct Since {
    written: ChunkList,
    /// Chunks the base had and the snapshot has not.
    gone: ChunkList,
    /// Where the shorter of the two ends, if their sizes differ and that is within an image block.
    end: Option<u64>,
}

/// What the pool's metadata and the base say of the volume and cannot both be true.
#[derive(Debug)]
pub(in crate::engine) enum Contradiction {
    /// A range is mapped as it was before the base, which does not have it.
    Unknown(Range<u64>),
    /// A range went since the base, which did not have it.
    Gone(Range<u64>),
    /// So many chunks are mapped, and by the base's list it would be so many.
    Count { mapped: u64, listed: u64 },
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(Range { start, end }) => write!(
                f,
                "bytes {start} to {end} of the volume are mapped as they were before the last \
                 backup, which does not have them"
            ),
            Self::Gone(Range { start, end }) => write!(
                f,
                "bytes {start} to {end} of the volume were discarded since the last backup, which \
                 does not have them"
            ),
            Self::Count { mapped, listed } => write!(
                f,
                "{mapped} chunks of the volume are mapped, and by the last backup's list it would \
                 be {listed}"
            ),
        }
    }
}

/// The chunks that a backup has.
pub(in crate::engine) fn chunks_of(base: &Image) -> impl Iterator<Item = ranges::Item> + '_ {
    let chunks = base.mapped_chunks().into_iter().flatten();
    chunks.map(|run| run.map_err(io::Error::other))
}

/// The chunks there are, by those that the base `had` and what became of them `since`. A long list
/// goes to a file in `folder`.
pub(in crate::engine) fn derive<H: Iterator<Item = ranges::Item>>(
    had: impl Fn() -> H,
    since: &mut SinceBase,
    chunk_bytes: u64,
    folder: &Path,
) -> io::Result<Result<ChunkList, Contradiction>> {
    if let Some(run) = difference(since.gone.runs()?, had()).next() {
        let Range { start, end } = run?;
        return Ok(Err(Contradiction::Gone(start * chunk_bytes..end * chunk_bytes)));
    }
    let beyond = std::iter::once(Ok(since.below..u64::MAX));
    let kept = difference(difference(had(), beyond), since.gone.runs()?);
    let mapped = ChunkList::collect(folder, union(kept, since.written.runs()?))?;
    if mapped.chunks() != since.chunks {
        let (mapped, listed) = (since.chunks, mapped.chunks());
        return Ok(Err(Contradiction::Count { mapped, listed }));
    }
    Ok(Ok(mapped))
}

impl ReadPlan {
    /// All that is `mapped` of a volume of `size` in chunks of `chunk`.
    pub(in crate::engine) fn allocated(
        mapped: ChunkList,
        chunk: Bytes,
        size: Bytes,
        block_bytes: u32,
    ) -> Self {
        let (chunk_bytes, size_bytes, is_derived) = (chunk.0, size.0, false);
        Self { chunk_bytes, size_bytes, block_bytes, mapped, is_derived, since: None }
    }

    /// Notes that the list of what is mapped is good for as long as the base is.
    pub(in crate::engine) fn derived(self) -> Self {
        Self { is_derived: true, ..self }
    }

    /// Whether the list of what is mapped falls with the base.
    pub(in crate::engine) fn is_derived(&self) -> bool {
        self.is_derived
    }

    /// What changed since `base`: the chunks `written` since, and those that are no longer mapped.
    /// Long lists go to files in `folder`. Without success the plan stays what it was.
    pub(in crate::engine) fn since(
        &mut self,
        written: ChunkList,
        base: &Image,
        folder: &Path,
    ) -> io::Result<Result<(), Contradiction>> {
        let mut written = written;
        let unchanged = difference(self.mapped.runs()?, written.runs()?);
        if let Some(run) = difference(unchanged, chunks_of(base)).next() {
            let Range { start, end } = run?;
            let range = start * self.chunk_bytes..end * self.chunk_bytes;
            return Ok(Err(Contradiction::Unknown(range)));
        }
        let gone = ChunkList::collect(folder, difference(chunks_of(base), self.mapped.runs()?))?;
        let base_bytes = base.root().total_bytes();
        let end = (base_bytes != self.size_bytes).then_some(base_bytes.min(self.size_bytes));
        self.since = Some(Since { written, gone, end });
        Ok(Ok(()))
    }

    /// Forgets the base.
    pub(in crate::engine) fn forget_base(&mut self) {
        self.since = None;
    }

    /// Size of a chunk and of the volume, in bytes.
    pub(in crate::engine) fn sizes(&self) -> (u32, u64) {
        // At most 1 GiB.
        (u32::try_from(self.chunk_bytes).unwrap_or(u32::MAX), self.size_bytes)
    }

    /// The chunks there are, in runs.
    pub(in crate::engine) fn mapped(
        &mut self,
    ) -> io::Result<impl Iterator<Item = ranges::Item> + '_> {
        self.mapped.runs()
    }

    /// What becomes of which range.
    pub(in crate::engine) fn ranges(
        &mut self,
    ) -> io::Result<Box<dyn Iterator<Item = Planned> + Send + '_>> {
        if self.since.is_none() {
            let runs = bytes(self.mapped.runs()?, self.chunk_bytes);
            let mapped = rounded(runs, self.size_bytes, self.block_bytes.into());
            return Ok(Box::new(mapped.map(|range| range.map(|range| (range, Part::Read)))));
        }
        let (dirty, mapped) = self.dirty_and_mapped()?.unzip();
        let (dirty, mapped) = (dirty.into_iter().flatten(), mapped.into_iter().flatten());
        Ok(Box::new(overlay(dirty, mapped).filter_map(|part| match part {
            Ok((range, Within { first: true, second: true })) => Some(Ok((range, Part::Read))),
            Ok((range, Within { first: true, second: false })) => Some(Ok((range, Part::Hole))),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })))
    }

    /// The image blocks in which something changed since the base; none where there is no base.
    pub(in crate::engine) fn dirty(
        &mut self,
    ) -> io::Result<impl Iterator<Item = ranges::Item> + Send + '_> {
        Ok(self.dirty_and_mapped()?.map(|(dirty, _)| dirty).into_iter().flatten())
    }

    /// The image blocks that are mapped and taken from the base; none where there is no base.
    pub(in crate::engine) fn kept(
        &mut self,
    ) -> io::Result<Option<impl Iterator<Item = ranges::Item> + Send + '_>> {
        Ok(self.dirty_and_mapped()?.map(|(dirty, mapped)| difference(mapped, dirty)))
    }

    /// The image blocks in which something changed, and those in which something is mapped.
    fn dirty_and_mapped(
        &mut self,
    ) -> io::Result<
        Option<(
            impl Iterator<Item = ranges::Item> + Send + '_,
            impl Iterator<Item = ranges::Item> + Send + '_,
        )>,
    > {
        let (chunk, size) = (self.chunk_bytes, self.size_bytes);
        let block = u64::from(self.block_bytes);
        let Some(Since { written, gone, end }) = &mut self.since else { return Ok(None) };
        let end = end.filter(|end| !end.is_multiple_of(block));
        let end = end.map(|end| Ok(end - 1..end));
        let changed = union(bytes(written.runs()?, chunk), bytes(gone.runs()?, chunk));
        let dirty = rounded(union(changed, end.into_iter()), size, block);
        let mapped = rounded(bytes(self.mapped.runs()?, chunk), size, block);
        Ok(Some((dirty, mapped)))
    }
}

/// Runs of chunks as ranges of bytes.
fn bytes(
    runs: impl Iterator<Item = ranges::Item>,
    chunk_bytes: u64,
) -> impl Iterator<Item = ranges::Item> {
    runs.map(move |run| run.map(|run| run.start * chunk_bytes..run.end * chunk_bytes))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
