//! Restore in place: which image blocks of a target are not what the backup has. All of it is read and
//! compared, or, where the target is the base of its own next backup, what was written since that and
//! what the two backups differ in.

use std::io;
use std::ops::Range;

use thinmover_io::IoFile;
use thinmover_lvm::{ChunkList, Chunks, ThinMap};
use thinmover_repository::{Image, Manifest};

use super::{DownloadReport, ExistingVolume, Goal, Job};
use crate::engine::upload::base::is_of_the_base;
use crate::engine::upload::plan::ReadPlan;
use crate::engine::upload::spot_check::{Difference, SpotCheckError, spot_check};
use crate::engine::upload::tier::{Reason, Tier};
use crate::failure::{Failure, Result, chain};
use crate::stream::ranges::{Item, rounded, union};
use crate::stream::{BlockRuns, Comparison, Limits, Runs, StreamError};

/// What of a target is written.
pub(super) struct Delta {
    /// Numbers of image blocks; with the first one, unless there is none at all.
    blocks: ChunkList,
    /// That differ, and of those beside them that are written along.
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

/// Which image blocks of a target can differ from the backup.
struct Suspects {
    blocks: ChunkList,
    read_bytes: u64,
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
        let suspects = self.suspects(manifest, image, file, goal)?;
        let (tier, reason, mut suspects) = match suspects {
            Ok(suspects) => (Tier::Changed, Reason::BaseHolds, Some(suspects)),
            Err(reason) => (Tier::Full, reason, None),
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
        if let Some(chunk) = goal.unzeroed_chunk {
            // Whatever lies in a chunk that is taken into use is written.
            let runs = in_bytes(self.runs(&mut blocks)?, block_bytes);
            let chunks = whole_chunks(runs, chunk.0);
            let widened = in_blocks(rounded(chunks, file.size_bytes(), block_bytes), block_bytes);
            blocks = self.collect(widened)?;
        }
        let differing_bytes = self.bytes_in(&mut blocks, block_bytes, file.size_bytes())?;
        if blocks.chunks() > 0 {
            let first = std::iter::once(Ok(0..1));
            let runs = self.runs(&mut blocks)?;
            blocks = self.collect(union(first, runs))?;
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

    /// What can differ, if the target is known well enough for that; else why not.
    fn suspects(
        &self,
        manifest: &Manifest,
        image: &Image,
        file: &IoFile,
        goal: &mut Goal,
    ) -> Result<std::result::Result<Suspects, Reason>> {
        let Some(ExistingVolume { volume, target, last }) = &goal.volume else {
            return Ok(Err(Reason::CopyMethodDirect));
        };
        let warnings = &mut goal.warnings;
        let (base, note) = match last.agreed(volume) {
            Ok(agreed) => agreed,
            Err(reason) => return Ok(Err(reason)),
        };
        if base.source.host != manifest.source.host {
            // Ids of two domains cannot be compared.
            return Ok(Err(Reason::NoBase));
        }
        if base.block_bytes != manifest.block_bytes {
            return Ok(Err(Reason::BlockSize));
        }
        self.context.progress.set_phase("reading the pool's metadata");
        let go_on = || self.context.cancel.check().is_ok();
        let ThinMap { volume, chunk, chunks, .. } = match target.map(&note.lineage, &go_on) {
            Ok(map) => map,
            Err(unknown) => return Ok(Err(Reason::of_unknown(&unknown, self.context, warnings)?)),
        };
        let (mapped, written) = match chunks {
            Chunks::Walked { mapped, written: Some(Ok(written)) } => (mapped, written),
            Chunks::Walked { written: Some(Err(broken)), .. } => {
                return Ok(Err(Reason::of_broken(&broken, warnings)));
            }
            _ => return Ok(Err(Reason::MetadataUnreadable)),
        };
        let base = match self.image(base) {
            Ok(base) if base.mapped().is_some() => base,
            Ok(_) => return Ok(Err(Reason::NoBase)),
            Err(failure) => {
                warnings.push(format!("the volume's last backup is no base: {failure}"));
                return Ok(Err(Reason::BaseDamaged));
            }
        };
        let block_bytes = image.root().block_bytes();
        let mut plan = ReadPlan::allocated(mapped, chunk, volume, block_bytes);
        match plan.since(written, &base, &self.engine.settings.state_dir) {
            Ok(Ok(())) => {}
            Ok(Err(contradiction)) => {
                warnings.push(format!(
                    "{contradiction}: the pool's metadata was set back or repaired; all of the \
                     volume was compared"
                ));
                return Ok(Err(Reason::BaseContradicted));
            }
            Err(error) => {
                warnings.push(format!("the volume's last backup is no base: {}", chain(&error)));
                return Ok(Err(Reason::BaseDamaged));
            }
        }
        let read_bytes = match spot_check(file, &mut plan, &base) {
            Ok((read_bytes, None)) => read_bytes,
            Ok((_, Some(Difference { offset }))) => {
                warnings.push(format!(
                    "the image block at byte {offset} changed since the volume's last backup although \
                     the pool's metadata says that it did not; all of it was compared"
                ));
                return Ok(Err(Reason::SpotCheckFailed));
            }
            Err(SpotCheckError::Base(error)) => {
                warnings.push(format!("the volume's last backup is no base: {error}"));
                return Ok(Err(Reason::BaseDamaged));
            }
            Err(SpotCheckError::Read(error)) => return Err(error.into()),
        };
        let mut between = match self.differing_images(&base, image)? {
            Ok(blocks) => blocks,
            Err(warning) => {
                warnings.push(warning);
                return Ok(Err(Reason::BaseDamaged));
            }
        };
        let dirty = plan.dirty().map_err(StreamError::Plan)?;
        let blocks = union(in_blocks(dirty, block_bytes), self.runs(&mut between)?);
        // Of what the images have and the target has not there is nothing to write.
        let end = file.size_bytes().div_ceil(u64::from(block_bytes));
        let within = blocks.filter_map(move |run| match run {
            Ok(run) if run.start >= end => None,
            run => Some(run.map(|run| run.start..run.end.min(end))),
        });
        Ok(Ok(Suspects { blocks: self.collect(within)?, read_bytes }))
    }

    /// The numbers of the blocks in which two images differ; a warning where the base cannot be read.
    fn differing_images(
        &self,
        base: &Image,
        image: &Image,
    ) -> Result<std::result::Result<ChunkList, String>> {
        let mut diff = image.diff(base)?;
        let window_blocks = self.limits(image.root().block_bytes())?.window_blocks;
        let mut failed = None;
        let windows = std::iter::from_fn(|| {
            diff.next_window(window_blocks).unwrap_or_else(|error| {
                failed = Some(error);
                None
            })
        });
        let blocks = self.collect(windows.flatten().map(|it| Ok(it.block..it.block + 1)));
        match failed {
            None => Ok(Ok(blocks?)),
            Some(error) if is_of_the_base(&error) => {
                Ok(Err(format!("the volume's last backup is no base: {error}")))
            }
            Some(error) => Err(error.into()),
        }
    }

    fn collect(&self, runs: impl Iterator<Item = Item>) -> Result<ChunkList> {
        let folder = &self.engine.settings.state_dir;
        Ok(ChunkList::collect(folder, runs).map_err(StreamError::Plan)?)
    }

    fn runs<'l>(&self, list: &'l mut ChunkList) -> Result<impl Iterator<Item = Item> + use<'l>> {
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
fn in_blocks(ranges: impl Iterator<Item = Item>, block_bytes: u32) -> impl Iterator<Item = Item> {
    let bytes = u64::from(block_bytes);
    ranges.map(move |range| range.map(|range| range.start / bytes..range.end.div_ceil(bytes)))
}

/// Ranges rounded out to chunks.
fn whole_chunks(ranges: impl Iterator<Item = Item>, chunk: u64) -> impl Iterator<Item = Item> {
    ranges.map(move |range| {
        range.map(|range| range.start / chunk * chunk..range.end.div_ceil(chunk) * chunk)
    })
}
