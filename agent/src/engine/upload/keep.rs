//! The snapshot that stays in the pool as the base of the volume's next backup, where the
//! configuration wants that: `pool.keep_base`.
//!
//! It is never relied on for what is read to be right. With it the next upload has less of the pool's
//! metadata to read; without it the mappings' times say the same.

use thinmover_lvm::{
    KeptBase, Lineage, LvmError, Nonce, Pool, Refusal, Snapshot, ThinMap, Volume, check_pool,
};

use super::base::{Base, Last};
use super::store::Stored;
use super::tier::Reason;
use super::{Upload, UploadReport};
use crate::engine::last_backup::Note;
use crate::engine::shared::Engine;
use crate::failure::{Result, chain};

impl Upload<'_> {
    /// The snapshot in the pool that the volume's last backup was made of. Any other base of the
    /// volume goes, and this one, too, where none is wanted.
    ///
    /// # Errors
    /// When LVM or the records cannot be read.
    pub(super) fn kept(
        &self,
        volume: &Volume,
        last: &Last,
        warnings: &mut Vec<String>,
    ) -> Result<Option<KeptBase>> {
        let note = last.note().filter(|_| self.engine.settings.keep_base);
        let mut kept = None;
        for base in self.engine.lvm.kept_bases(&volume.uuid)? {
            let is_named =
                |note: &&Note| base.is_of(&note.nonce) && note.kept.as_ref() == Some(base.uuid());
            if note.filter(is_named).is_some() {
                kept = Some(base);
            } else {
                self.engine.remove_base(&base, warnings);
            }
        }
        Ok(kept)
    }

    /// Says so where a base that holds was to be compared with, and was not.
    pub(super) fn tell_of_not_compared(
        &self,
        base: &std::result::Result<Base, Reason>,
        kept: Option<&KeptBase>,
        map: &ThinMap,
        warnings: &mut Vec<String>,
    ) {
        let (Ok(base), true) = (base, self.engine.settings.keep_base) else { return };
        let why = match (kept, &map.not_compared, &base.kept) {
            (Some(kept), Some(why), _) => {
                format!("the base {} in the pool is not what it was: {why}", kept.alias())
            }
            (None, _, Some(uuid)) => format!("the base {uuid} is no longer in the pool"),
            _ => return,
        };
        warnings.push(format!("{why}; what changed was told by the times of all mappings instead"));
    }

    /// Notes the backup as the volume's base, and hands over from the snapshot that was kept before,
    /// if there is one, to `snapshot`, if one is to be kept. Returns whether it stays. What fails
    /// costs the next upload its base and is a warning.
    ///
    /// Each step is durable before the next: the record, the note, the tag on the volume, which is
    /// where recovery takes the new one for the old, and the removal of that.
    pub(super) fn hand_over(
        &self,
        snapshot: &mut Snapshot,
        volume: &Volume,
        before: Option<&KeptBase>,
        stored: Stored,
    ) -> (UploadReport, bool) {
        let Stored { mut report, lineage } = stored;
        let warnings = &mut report.warnings;
        let note = lineage.and_then(|lineage| self.new_note(snapshot, lineage, warnings));
        let stays = note.as_ref().is_some_and(|note| note.kept.is_some());
        let is_noted = self.note(volume.uuid.as_str(), &report.id, Some(volume), note, warnings);
        if let Some(before) = before.filter(|_| is_noted) {
            self.context.progress.set_phase("removing the base before");
            self.engine.remove_base(before, warnings);
        }
        (report, stays && is_noted)
    }

    /// What the next backup can build on, and the snapshot kept if that is wanted.
    fn new_note(
        &self,
        snapshot: &mut Snapshot,
        lineage: Lineage,
        warnings: &mut Vec<String>,
    ) -> Option<Note> {
        let nonce = match Nonce::random() {
            Ok(nonce) => nonce,
            Err(error) => {
                warnings.push(format!("the next backup has no base: /dev/urandom: {error}"));
                return None;
            }
        };
        let mut note = Note { nonce, lineage, kept: None };
        if self.engine.settings.keep_base {
            self.context.progress.set_phase("keeping the snapshot");
            match snapshot.keep(&note.nonce) {
                Ok(()) => note.kept = Some(snapshot.uuid().clone()),
                Err(error) => warnings.push(format!(
                    "the snapshot could not be kept as the next backup's base: {}",
                    chain(&error)
                )),
            }
        }
        Some(note)
    }
}

impl Engine {
    /// Where `pool` is past its limits, removes the bases of `volume` that are kept in there: they hold on
    /// to what the volume has overwritten since, and nothing but time is lost with them.
    ///
    /// # Errors
    /// When LVM or the records cannot be read.
    pub(in crate::engine) fn give_way(
        &self,
        volume: &Volume,
        pool: &Pool,
        warnings: &mut Vec<String>,
    ) -> Result<()> {
        let usage = self.lvm.pool_usage(pool)?;
        let checked = check_pool(pool, &usage, &self.settings.pool_limits);
        let Err(refusal @ Refusal::PoolPastLimit { .. }) = checked else { return Ok(()) };
        for base in self.lvm.kept_bases(&volume.uuid)? {
            warnings.push(format!("{refusal}; so {}, a base, makes room", base.alias()));
            self.remove_base(&base, warnings);
        }
        Ok(())
    }

    fn remove_base(&self, base: &KeptBase, warnings: &mut Vec<String>) {
        match self.lvm.delete_snapshot(base.uuid().as_str()) {
            Ok(()) | Err(LvmError::NotFound { .. }) => {}
            Err(error) => warnings.push(format!(
                "{}, the base of an earlier backup, could not be removed ({}); the next job tries \
                 again",
                base.alias(),
                chain(&error)
            )),
        }
    }
}
