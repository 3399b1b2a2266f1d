//! The mark on a volume that was there before a restore began to overwrite it: a tag that stays until
//! all of it is written, however the job ends. What carries it is no source of a backup, and a restore
//! to it that comes to its end takes the mark away.

use super::{Target, new_nonce};
use crate::error::LvmError;
use crate::host::boot_id;
use crate::inventory::Volume;
use crate::names::Tag;
use crate::record::{Body, HeldRecord, Named, RestoringBody};
use crate::tags;

/// What the tag begins with; the job's id follows.
const PREFIX: &str = "thinmover.restoring=";

impl Volume {
    /// The job that began to overwrite it and has not finished; `None` for a volume that is whole.
    pub fn restoring(&self) -> Option<&str> {
        self.tagged(PREFIX).next()
    }
}

impl Target {
    /// Marks a volume that was there before as half restored by the job `job`, in place of an earlier
    /// mark; [`finish`](Self::finish) takes the mark off. To be called before the first byte is
    /// written. A volume that was made for the restore needs none: it goes when the job fails.
    ///
    /// # Errors
    /// [`NameError`](crate::NameError) for an id that LVM would not take, and what fails.
    pub fn mark_unfinished(&mut self, job: &str) -> Result<(), LvmError> {
        let is_made = |record: &HeldRecord| matches!(record.record().body, Body::Created(_));
        if self.mark.is_some() || self.record.as_ref().is_some_and(is_made) {
            return Ok(());
        }
        let tag = Tag::new(format!("{PREFIX}{job}"))?;
        let volume = &self.volume;
        let body = Body::Restoring(RestoringBody {
            vg: Named { name: volume.vg.clone(), uuid: volume.vg_uuid.clone() },
            volume: Named { name: volume.name.clone(), uuid: volume.uuid.clone() },
            job: job.to_owned(),
        });
        self.mark = Some(self.lvm.records().create(new_nonce()?, &boot_id()?, body)?);
        tags::replace(&self.lvm, volume, PREFIX, Some(&tag))?;
        self.volume.tags.retain(|has| !has.starts_with(PREFIX));
        self.volume.tags.push(tag.into());
        Ok(())
    }

    /// Whether the volume is marked as half restored.
    pub fn is_marked(&self) -> bool {
        self.volume.restoring().is_some()
    }

    /// Takes the mark off.
    pub(super) fn unmark(&mut self) -> Result<(), LvmError> {
        let Some(record) = self.mark.take() else { return Ok(()) };
        tags::replace(&self.lvm, &self.volume, PREFIX, None)?;
        Ok(record.remove()?)
    }
}
