//! Which image blocks of a target can differ from a backup, where the target is the base of its own next
//! backup: what was written since that, what went since, and what the two backups differ in.

use std::ops::Range;

use thinmover_io::IoFile;
use thinmover_lvm::{ChunkList, Chunks, Lineage, ThinMap};
use thinmover_repository::{Image, Manifest};

use super::Job;
use super::delta::in_blocks;
use super::write::{ExistingVolume, Goal};
use crate::engine::upload::base::is_of_the_base;
use crate::engine::upload::plan::ReadPlan;
use crate::engine::upload::spot_check::{Difference, SpotCheckError, spot_check};
use crate::engine::upload::tier::Reason;
use crate::failure::{Failure, chain};
use crate::stream::StreamError;
use crate::stream::ranges::union;

/// What can differ.
pub(super) struct Suspects {
    /// Numbers of image blocks.
    pub(super) blocks: ChunkList,
    /// Read of the target, to be sure that nothing else differs.
    pub(super) read_bytes: u64,
}

/// Why it is not known what can differ.
pub(super) enum Unknown {
    /// All of the target is to be compared.
    Because(Reason),
    /// The restore is to end.
    Failed(Failure),
}

type Result<T> = std::result::Result<T, Unknown>;

impl From<Reason> for Unknown {
    fn from(reason: Reason) -> Self {
        Self::Because(reason)
    }
}

impl<E: Into<Failure>> From<E> for Unknown {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Job<'_> {
    /// Finds what of `file` can be other than in `image`.
    pub(super) fn suspects(
        &self,
        manifest: &Manifest,
        image: &Image,
        file: &IoFile,
        goal: &mut Goal,
    ) -> Result<Suspects> {
        let Goal { volume, warnings, .. } = goal;
        let Some(volume) = volume else { return Err(Reason::CopyMethodDirect.into()) };
        let (base, note) = volume.last.agreed(volume.volume)?;
        if base.source.host != manifest.source.host {
            // Ids of two domains cannot be compared.
            return Err(Reason::NoBase.into());
        }
        if base.block_bytes != manifest.block_bytes {
            return Err(Reason::BlockSize.into());
        }
        let base = match self.image(base) {
            Ok(base) if base.mapped().is_some() => base,
            Ok(_) => return Err(Reason::NoBase.into()),
            Err(failure) => return Err(no_base(&failure.message, warnings)),
        };
        let mut plan = self.changed_since(&base, &note.lineage, volume, warnings)?;
        let read_bytes = match spot_check(file, &mut plan, &base) {
            Ok((read_bytes, None)) => read_bytes,
            Ok((_, Some(Difference { offset }))) => {
                warnings.push(format!(
                    "the image block at byte {offset} changed since the volume's last backup although \
                     the pool's metadata says that it did not; all of it was compared"
                ));
                return Err(Reason::SpotCheckFailed.into());
            }
            Err(SpotCheckError::Base(error)) => return Err(no_base(&error.to_string(), warnings)),
            Err(SpotCheckError::Read(error)) => return Err(error.into()),
        };
        let mut between = self.differing_images(&base, image, warnings)?;
        let dirty = in_blocks(plan.dirty().map_err(StreamError::Plan)?, image.root().block_bytes());
        let blocks = union(dirty, self.runs(&mut between)?);
        // Of what the images have and the target has not there is nothing to write.
        let end = file.size_bytes().div_ceil(u64::from(image.root().block_bytes()));
        let within = blocks.filter_map(move |run| match run {
            Ok(run) if run.start >= end => None,
            run => Some(run.map(|Range { start, end: to }| start..to.min(end))),
        });
        Ok(Suspects { blocks: self.collect(within)?, read_bytes })
    }

    /// What changed on the volume since `base`, whose moment is `lineage`.
    fn changed_since(
        &self,
        base: &Image,
        lineage: &Lineage,
        volume: &ExistingVolume,
        warnings: &mut Vec<String>,
    ) -> Result<ReadPlan> {
        self.context.progress.set_phase("reading the pool's metadata");
        let go_on = || self.context.cancel.check().is_ok();
        let ThinMap { volume, chunk, chunks, .. } = match volume.target.map(lineage, &go_on) {
            Ok(map) => map,
            Err(unknown) => {
                return Err(Reason::of_unknown(&unknown, self.context, warnings)?.into());
            }
        };
        let (mapped, written) = match chunks {
            Chunks::Walked { mapped, written: Some(Ok(written)) } => (mapped, written),
            Chunks::Walked { written: Some(Err(broken)), .. } => {
                return Err(Reason::of_broken(&broken, warnings).into());
            }
            _ => return Err(Reason::MetadataUnreadable.into()),
        };
        let mut plan = ReadPlan::allocated(mapped, chunk, volume, base.root().block_bytes());
        match plan.since(written, base, &self.engine.settings.state_dir) {
            Ok(Ok(())) => Ok(plan),
            Ok(Err(contradiction)) => {
                warnings.push(format!(
                    "{contradiction}: the pool's metadata was set back or repaired; all of the \
                     volume was compared"
                ));
                Err(Reason::BaseContradicted.into())
            }
            Err(error) => Err(no_base(&chain(&error), warnings)),
        }
    }

    /// The numbers of the blocks in which two images differ.
    fn differing_images(
        &self,
        base: &Image,
        image: &Image,
        warnings: &mut Vec<String>,
    ) -> Result<ChunkList> {
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
            None => Ok(blocks?),
            Some(error) if is_of_the_base(&error) => Err(no_base(&error.to_string(), warnings)),
            Some(error) => Err(error.into()),
        }
    }
}

/// The last backup cannot be read.
fn no_base(why: &str, warnings: &mut Vec<String>) -> Unknown {
    warnings.push(format!("the volume's last backup is no base: {why}"));
    Reason::BaseDamaged.into()
}
