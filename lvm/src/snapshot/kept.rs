//! Snapshots that stay in the pool as the base of their volume's next backup: read-only, inactive, on
//! record with what they are known by.
//!
//! A base belongs to one backup, by the number that is in the tag of its origin. The tag changes in
//! one step from one backup to the next, and it alone says which base stays: recovery removes every
//! other one. So wherever a process dies while one takes the other's place, one is left.

use super::Snapshot;
use crate::activation;
use crate::dm_thin::{BlockSource, Device, DeviceId, PoolTime, ThinMetadata};
use crate::error::LvmError;
use crate::host::Lvm;
use crate::inventory::Volume;
use crate::names::LvmUuid;
use crate::quiet;
use crate::record::{Body, KeptBody, Nonce, Owner, SnapshotBody};
use crate::snapshot::owned::matches;

/// A base that is in the pool.
#[derive(Clone, Debug)]
pub struct KeptBase {
    volume: Volume,
    body: KeptBody,
}

impl KeptBase {
    /// Its UUID.
    pub fn uuid(&self) -> &LvmUuid {
        &self.volume.uuid
    }

    /// `VG/LV`.
    pub fn alias(&self) -> String {
        self.volume.alias()
    }

    /// Whether it belongs to the backup that is known under `note`.
    pub fn is_of(&self, note: &Nonce) -> bool {
        self.body.note == *note
    }

    /// Its device, if that is the one that was read at pool time `made` and has as many chunks.
    /// Otherwise why not.
    ///
    /// Nobody wrote to it then either, if a comparison sees none of its chunks mapped at `made` or
    /// later: a write maps such a chunk, whatever else is done, and what is only discarded is missing
    /// from the count.
    pub(super) fn device<S: BlockSource>(
        &self,
        metadata: &mut ThinMetadata<S>,
        made: PoolTime,
    ) -> Result<Device, String> {
        let id = DeviceId::new(self.body.device).filter(|id| self.volume.thin_id == Some(*id));
        let id = id.ok_or("it is another device of the pool")?;
        if !self.volume.read_only {
            return Err("it is writable".to_owned());
        }
        let device = metadata.device(id).map_err(|error| error.to_string())?;
        let is_same =
            device.creation_time == made && device.transaction_id == self.body.device_transaction;
        if !is_same {
            return Err(format!("device {id} of the pool was made anew"));
        }
        if device.mapped_chunks != self.body.mapped_chunks {
            return Err(format!(
                "it has {} chunks, and had {} when it was read",
                device.mapped_chunks, self.body.mapped_chunks
            ));
        }
        Ok(device)
    }
}

impl Lvm {
    /// The bases of the volume `origin` that are in the pool: one, or two where a process died that
    /// was putting one in place of the other.
    ///
    /// # Errors
    /// When LVM or the records cannot be read.
    pub fn kept_bases(&self, origin: &LvmUuid) -> Result<Vec<KeptBase>, LvmError> {
        let (records, _) = self.records().read_all()?;
        let bases =
            records.iter().filter_map(|record| match &record.body {
                Body::Snapshot(SnapshotBody {
                    origin: of, uuid, owner: Owner::Base(kept), ..
                }) if of.uuid == *origin => Some((record, uuid.as_ref()?, kept)),
                _ => None,
            });
        let bases: Vec<_> = bases.collect();
        if bases.is_empty() {
            return Ok(Vec::new());
        }
        let inventory = self.inventory()?;
        let kept = bases.into_iter().filter_map(|(record, uuid, kept)| {
            let volume = inventory.volume(uuid)?;
            matches(record, volume).then(|| KeptBase { volume: volume.clone(), body: kept.clone() })
        });
        Ok(kept.collect())
    }
}

impl Snapshot {
    /// Makes it the base of its origin's next backup, inactive: the one of the backup that will be
    /// known under `note`. Until the origin's tag says so ([`Lvm::set_base`]) recovery removes it if
    /// this process dies; afterwards it stays, also when this value is dropped.
    ///
    /// # Errors
    /// When it was not [mapped](Snapshot::map), is open, or what fails; it is a job's still.
    pub fn keep(&mut self, note: &Nonce) -> Result<(), LvmError> {
        let unread = || LvmError::Unexpected {
            volume: self.volume.alias(),
            what: "it is to be kept, and the pool's metadata was not read".to_owned(),
        };
        let device = self.device.clone().ok_or_else(unread)?;
        let record = self.record.as_mut().ok_or_else(unread)?;
        let Body::Snapshot(body) = record.record().body.clone() else { return Err(unread()) };
        if self.volume.active {
            activation::deactivate(&self.lvm, &self.volume)?;
            self.volume.active = false;
        }
        quiet::end(record.record())?;
        let kept = KeptBody {
            note: note.clone(),
            device: device.id.get(),
            device_transaction: device.transaction_id,
            mapped_chunks: device.mapped_chunks,
        };
        let body = SnapshotBody { owner: Owner::Base(kept), ..body };
        Ok(record.update(Body::Snapshot(body))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dm_thin::tests::image::{Image, Shape};
    use crate::testing::{snapshot, thin};

    const SHAPE: Shape = Shape { seed: 1, entries: 3, slack: false };

    /// A base of three chunks as it was made at time 4, by the transaction 7 that images have.
    fn base() -> KeptBase {
        let note = Nonce::parse(&"b0".repeat(16)).unwrap();
        let body = KeptBody { note, device: 5, device_transaction: 7, mapped_chunks: 3 };
        let volume = Volume { thin_id: DeviceId::new(5), ..snapshot("s", 's', &thin("data", 'd')) };
        KeptBase { volume, body }
    }

    fn device_of(base: &KeptBase, made: u32) -> Result<Device, String> {
        let mut image = Image::new(128);
        image.creation_time = 4;
        image.add(5, &(0..3).map(|thin| (thin, (thin, 1))).collect(), SHAPE);
        base.device(&mut image.read(SHAPE), PoolTime::new(made).unwrap())
    }

    #[test]
    fn a_base_is_the_device_that_was_read_or_none() {
        assert_eq!(device_of(&base(), 4).unwrap().id.get(), 5);
        assert!(device_of(&base(), 3).unwrap_err().contains("made anew"));
        for (change, why) in [
            ((|base| base.body.device_transaction = 8) as fn(&mut KeptBase), "made anew"),
            (|base| base.body.mapped_chunks = 4, "has 3 chunks, and had 4"),
            (|base| base.body.device = 6, "another device"),
            (|base| base.volume.thin_id = None, "another device"),
            (|base| base.volume.read_only = false, "writable"),
            (
                |base| {
                    base.body.device = 6;
                    base.volume.thin_id = DeviceId::new(6);
                },
                "no thin device 6",
            ),
        ] {
            let mut base = base();
            change(&mut base);
            let error = device_of(&base, 4).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
