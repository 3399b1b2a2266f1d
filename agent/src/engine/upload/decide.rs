//! Which tier a snapshot is read by: by what its map says and the base has, and by what is left of
//! that when one of the two turns out not to be relied on.

use thinmover_lvm::{ChunkList, Chunks, MapUnknown, SinceBase, ThinMap};

use super::base::Base;
use super::plan::{Contradiction, ReadPlan, chunks_of, derive};
use super::tier::Reason;
use super::{Opened, Upload};
use crate::failure::{Result, chain};
use crate::stream::StreamError;

impl Upload<'_> {
    /// Plans what is read of a snapshot with that map: what changed since the base, if that holds,
    /// else all that is allocated.
    pub(super) fn plan(
        &self,
        opened: &mut Opened,
        map: ThinMap,
        base: std::result::Result<Base, Reason>,
    ) -> Result<()> {
        let ThinMap { volume, chunk, chunks, .. } = map;
        let all = |mapped| ReadPlan::allocated(mapped, chunk, volume, self.block_bytes);
        match (chunks, base) {
            (Chunks::Walked { mapped, .. }, Err(reason)) => {
                opened.plan = Some(all(mapped));
                opened.reason = reason;
                Ok(())
            }
            (Chunks::Walked { mapped, written }, Ok(base)) => {
                opened.plan = Some(all(mapped));
                match written {
                    None => Ok(()),
                    Some(Ok(written)) => self.plan_since(opened, written, base, Reason::BaseHolds),
                    Some(Err(broken)) => {
                        opened.reason = Reason::of_broken(&broken, &mut opened.warnings);
                        Ok(())
                    }
                }
            }
            (Chunks::Compared(_), Err(reason)) => self.fall_back(opened, reason),
            (Chunks::Compared(mut since), Ok(base)) => {
                let folder = &self.engine.settings.state_dir;
                let had = || chunks_of(&base.image);
                match derive(had, &mut since, chunk.0, folder).map_err(StreamError::Plan) {
                    Ok(Ok(mapped)) => {
                        opened.plan = Some(all(mapped).derived());
                        let SinceBase { written, .. } = since;
                        self.plan_since(opened, written, base, Reason::BaseKept)
                    }
                    Ok(Err(contradiction)) => self.contradicted(opened, &contradiction),
                    Err(error) => self.damaged(opened, &error),
                }
            }
        }
    }

    /// As [`plan`](Self::plan), where it is known what was `written` since the base: then the reason
    /// is `holds`.
    fn plan_since(
        &self,
        opened: &mut Opened,
        written: ChunkList,
        base: Base,
        holds: Reason,
    ) -> Result<()> {
        let Some(plan) = &mut opened.plan else { return Ok(()) };
        let found = plan.since(written, &base.image, &self.engine.settings.state_dir);
        match found.map_err(StreamError::Plan) {
            Ok(Ok(())) => {
                opened.base = Some(base.image);
                opened.reason = holds;
                Ok(())
            }
            Ok(Err(contradiction)) => self.contradicted(opened, &contradiction),
            Err(error) => self.damaged(opened, &error),
        }
    }

    fn contradicted(&self, opened: &mut Opened, contradiction: &Contradiction) -> Result<()> {
        opened.warnings.push(format!(
            "{contradiction}: the pool's metadata was set back or repaired; all that is allocated \
             was read"
        ));
        self.fall_back(opened, Reason::BaseContradicted)
    }

    fn damaged(&self, opened: &mut Opened, error: &StreamError) -> Result<()> {
        opened.warnings.push(format!("the last backup is no base: {}", chain(error)));
        self.fall_back(opened, Reason::BaseDamaged)
    }

    /// Goes on without the base: all that is allocated is read. Where what is allocated is known by
    /// the base only, all mappings are read now.
    ///
    /// # Errors
    /// When the job is to end.
    pub(super) fn fall_back(&self, opened: &mut Opened, reason: Reason) -> Result<()> {
        opened.base = None;
        opened.reason = reason;
        match &mut opened.plan {
            Some(plan) if !plan.is_derived() => plan.forget_base(),
            _ => opened.plan = self.walk(opened)?,
        }
        Ok(())
    }

    /// A plan by all mappings there are; `None`, with the reason, where they cannot be had.
    fn walk(&self, opened: &mut Opened) -> Result<Option<ReadPlan>> {
        let Some(snapshot) = &mut opened.snapshot else { return Ok(None) };
        self.context.progress.set_phase("reading the pool's metadata");
        let go_on = || self.context.cancel.check().is_ok();
        let unknown = match snapshot.map(None, None, &go_on) {
            Ok(ThinMap { volume, chunk, chunks: Chunks::Walked { mapped, .. }, .. }) => {
                return Ok(Some(ReadPlan::allocated(mapped, chunk, volume, self.block_bytes)));
            }
            Ok(_) => MapUnknown::Contradiction("nothing was there to compare with".to_owned()),
            Err(unknown) => unknown,
        };
        opened.reason = Reason::of_unknown(&unknown, self.context, &mut opened.warnings)?;
        Ok(None)
    }
}
