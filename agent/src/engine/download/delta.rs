//! Restore in place: which image blocks of a target are not what the backup has. Those that can differ
//! ([`suspects`](super::suspects)), or all of them, are read and compared.

use std::io;
use std::ops::Range;

use thinmover_io::IoFile;
use thinmover_lvm::ChunkList;
use thinmover_repository::{Image, Manifest};

use super::Job;
use super::report::DownloadReport;
use super::suspects::Unknown;
use super::write::Goal;
use crate::engine::upload::tier::{Reason, Tier};
use crate::failure::{Failure, Result};
use crate::stream::ranges::{Item, rounded, union};
use crate::stream::{BlockRuns, Comparison, Limits, Runs, StreamError};

/// What of a target is written.
pub(super) struct Delta {
    /// Numbers of image blocks; with the first one, unless there is none at all.
    blocks: ChunkList,
    /// Of those of them that differ.
    differing_bytes: u64,
    /// Read of the target.
    read_bytes: u64,
    tier: Tier,
    reason: Reason,
}

impl BlockRuns for Delta {
    fn runs(&mut self) -> io::Result<Runs<'_>> {
        Ok(Box::new(self.blocks.runs()?))
    }
}

impl Delta {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.chunks() == 0
    }

    /// Says in `report` what was found.
    pub(super) fn tell(&self, report: &mut DownloadReport) {
        report.tier = Some(self.tier.as_str().to_owned());
        report.reason = Some(self.reason.as_str().to_owned());
        report.differing_bytes = Some(self.differing_bytes);
        report.read_bytes = self.read_bytes;
    }
}

impl Job<'_> {
    /// Finds what of `file` is not as in `image`.
    pub(super) fn compare(
        &self,
        manifest: &Manifest,
        image: &Image,
        file: &IoFile,
        goal: &mut Goal,
    ) -> Result<Delta> {
        let (tier, reason, mut suspects) = match self.suspects(manifest, image, file, goal) {
            Ok(suspects) => (Tier::Changed, Reason::BaseHolds, Some(suspects)),
            Err(Unknown::Because(reason)) => (Tier::Full, reason, None),
            Err(Unknown::Failed(failure)) => return Err(failure),
        };
        let block_bytes = image.root().block_bytes();
        let all = file.size_bytes().div_ceil(u64::from(block_bytes));
        let (blocks, mut read_bytes): (Runs, u64) = match &mut suspects {
            Some(found) => (Box::new(self.runs(&mut found.blocks)?), found.read_bytes),
            None => (Box::new(std::iter::once(Ok(0..all))), 0),
        };
        self.context.progress.set_phase("comparing the target with the backup");
        let limits = self.limits(block_bytes)?;
        let (mut blocks, compared) = self.differing(image, file, blocks, &limits)?;
        read_bytes += compared;
        let differing_bytes = self.bytes_in(&mut blocks, block_bytes, file.size_bytes())?;
        if blocks.chunks() > 0 {
            let first = union(std::iter::once(Ok(0..1)), self.runs(&mut blocks)?);
            // Whatever lies in a chunk that is taken into use is written.
            let chunk = goal.unzeroed_chunk.map_or(1, |chunk| chunk.0);
            let unit = least_common_multiple(chunk, block_bytes.into());
            let whole = rounded(in_bytes(first, block_bytes), file.size_bytes(), unit);
            blocks = self.collect(in_blocks(whole, block_bytes))?;
        }
        Ok(Delta { blocks, differing_bytes, read_bytes, tier, reason })
    }

    /// Compares once more what was written, by what the target's device now says, and returns how much
    /// was read for that.
    pub(super) fn verify(
        &self,
        image: &Image,
        file: &IoFile,
        delta: &mut Delta,
        limits: &Limits,
    ) -> Result<u64> {
        self.context.progress.set_phase("verifying");
        let runs = Box::new(self.runs(&mut delta.blocks)?);
        let (mut wrong, read_bytes) = self.differing(image, file, runs, limits)?;
        let first = wrong.runs().map_err(StreamError::Plan)?.next();
        let Some(run) = first else { return Ok(read_bytes) };
        let block_bytes = u64::from(image.root().block_bytes());
        let Range { start, end } = run.map_err(StreamError::Plan)?;
        let (offset, length) = (start * block_bytes, (end - start) * block_bytes);
        Err(StreamError::NotKept { offset, length }.into())
    }

    /// Those of `blocks` that are not the same in `file` and `image`, and how much of the target was read.
    fn differing(
        &self,
        image: &Image,
        file: &IoFile,
        blocks: Runs<'_>,
        limits: &Limits,
    ) -> Result<(ChunkList, u64)> {
        let (progress, cancel) = (&self.context.progress, &self.context.cancel);
        progress.set_done_bytes(0);
        progress.set_total_bytes(0);
        let mut comparison = Comparison::new(image, file, blocks, limits);
        let mut failed = None;
        let differing = std::iter::from_fn(|| {
            comparison.next_batch(progress, cancel).unwrap_or_else(|error| {
                failed = Some(error);
                None
            })
        });
        let found = self.collect(differing.flatten().map(|block| Ok(block..block + 1)));
        let read_bytes = comparison.read_bytes();
        match failed {
            Some(error) => Err(error.into()),
            None => Ok((found?, read_bytes)),
        }
    }

    pub(super) fn collect(&self, runs: impl Iterator<Item = Item>) -> Result<ChunkList> {
        let folder = &self.engine.settings.state_dir;
        Ok(ChunkList::collect(folder, runs).map_err(StreamError::Plan)?)
    }

    pub(super) fn runs<'l>(
        &self,
        list: &'l mut ChunkList,
    ) -> Result<impl Iterator<Item = Item> + use<'l>> {
        list.runs().map_err(|error| Failure::from(StreamError::Plan(error)))
    }

    /// How many bytes of a target of `size_bytes` these blocks are.
    fn bytes_in(&self, list: &mut ChunkList, block_bytes: u32, size_bytes: u64) -> Result<u64> {
        let mut bytes = 0;
        for range in in_bytes(self.runs(list)?, block_bytes) {
            let Range { start, end } = range.map_err(StreamError::Plan)?;
            bytes += end.min(size_bytes) - start;
        }
        Ok(bytes)
    }
}

fn in_bytes(runs: impl Iterator<Item = Item>, block_bytes: u32) -> impl Iterator<Item = Item> {
    let bytes = u64::from(block_bytes);
    runs.map(move |run| run.map(|run| run.start * bytes..run.end * bytes))
}

/// Ranges of whole image blocks, but for the last, as runs of their numbers.
pub(super) fn in_blocks(
    ranges: impl Iterator<Item = Item>,
    block_bytes: u32,
) -> impl Iterator<Item = Item> {
    let bytes = u64::from(block_bytes);
    ranges.map(move |range| range.map(|range| range.start / bytes..range.end.div_ceil(bytes)))
}

fn least_common_multiple(one: u64, other: u64) -> u64 {
    let (mut divisor, mut rest) = (one, other);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    (one / divisor).saturating_mul(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_whole_chunks_and_whole_blocks() {
        const KIB: u64 = 1024;
        let unit = |chunk, block| least_common_multiple(chunk * KIB, block * KIB) / KIB;
        assert_eq!(unit(64, 256), 256);
        assert_eq!(unit(1024, 256), 1024);
        assert_eq!(unit(192, 256), 768);
        assert_eq!(unit(320, 8192), 40_960);
        assert_eq!(least_common_multiple(1, 65_536), 65_536);
    }
}
