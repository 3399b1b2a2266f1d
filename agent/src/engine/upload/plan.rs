//! What an upload reads of a snapshot: what there is, or what changed since the base.

use std::io;
use std::ops::Range;
use std::path::Path;

use thinmover_lvm::{ChunkList, ThinMap};
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

/// A range of the volume that is mapped as it was before the base, which the base does not have.
pub(in crate::engine) struct Contradiction(pub(in crate::engine) Range<u64>);

impl ReadPlan {
    /// All that is mapped.
    pub(in crate::engine) fn allocated(map: ThinMap, block_bytes: u32) -> Self {
        let ThinMap { volume, chunk, mapped, .. } = map;
        Self { chunk_bytes: chunk.0, size_bytes: volume.0, block_bytes, mapped, since: None }
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
        let had = || {
            let chunks = base.mapped_chunks().into_iter().flatten();
            chunks.map(|run| run.map_err(io::Error::other))
        };
        let unchanged = difference(self.mapped.runs()?, written.runs()?);
        if let Some(run) = difference(unchanged, had()).next() {
            let Range { start, end } = run?;
            return Ok(Err(Contradiction(start * self.chunk_bytes..end * self.chunk_bytes)));
        }
        let gone = ChunkList::collect(folder, difference(had(), self.mapped.runs()?))?;
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
            let mapped = rounded(runs, self.size_bytes, self.block_bytes);
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
        let (chunk, size, block) = (self.chunk_bytes, self.size_bytes, self.block_bytes);
        let Some(Since { written, gone, end }) = &mut self.since else { return Ok(None) };
        let end = end.filter(|end| !end.is_multiple_of(u64::from(block)));
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
