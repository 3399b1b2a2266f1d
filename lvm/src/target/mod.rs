//! The volume that a restore writes: an existing one, or one made for it.

mod map;
mod unfinished;

use std::fs::File;
use std::thread;
use std::time::Duration;

use crate::activation;
use crate::command::CommandError;
use crate::device::{self, Access};
use crate::error::LvmError;
use crate::guard::{self, PoolLimits, Refusal};
use crate::host::{Lvm, boot_id, check_new_name};
use crate::inventory::{Pool, Volume};
use crate::names::{LvName, LvmUuid};
use crate::record::{
    ActivatedBody, Body, CreatedBody, HeldRecord, MetadataSnapshotBody, Named, Nonce,
};
use crate::units::Bytes;

/// How often it is looked whether udev has let go of a device.
const OPEN_CHECKS: u32 = 10;
const OPEN_PAUSE: Duration = Duration::from_millis(100);

/// A volume open for writing, claimed so that nothing mounts it meanwhile.
///
/// [`finish`](Self::finish) keeps what was written. Anything else, dropping included, takes back
/// what was done to open it: a volume that was made for it is removed, one that was activated is
/// deactivated. What was written to an existing volume stays written, and marked as unfinished
/// ([`mark_unfinished`](Self::mark_unfinished)).
#[derive(Debug)]
pub struct Target {
    lvm: Lvm,
    volume: Volume,
    /// `None` once it was given up.
    file: Option<File>,
    /// `None` for a volume that was there and active.
    record: Option<HeldRecord>,
    /// Of the mark on it, from before the first write on.
    mark: Option<HeldRecord>,
}

impl Lvm {
    /// Opens `volume`, looked up again by its UUID, for writing. An inactive one is activated.
    ///
    /// # Errors
    /// A [`Refusal`] when it is mounted, open, read-only, below another device or in a group that
    /// must not be changed; otherwise what failed.
    pub fn open_target(&self, volume: &Volume) -> Result<Target, LvmError> {
        let inventory = self.inventory()?;
        let volume = inventory.find_volume(volume.uuid.as_str())?;
        self.check_group(&inventory, &volume.vg_uuid)?;
        if let Some(holder) = holders_of(volume)?.first() {
            let why = format!("is below the device {holder}");
            return Err(Refusal::InUse { volume: volume.alias(), why }.into());
        }
        guard::check_target(volume)?;
        let mut target = Target {
            lvm: self.clone(),
            volume: volume.clone(),
            file: None,
            record: None,
            mark: None,
        };
        if !volume.active {
            let body = Body::Activated(ActivatedBody {
                vg: Named { name: volume.vg.clone(), uuid: volume.vg_uuid.clone() },
                volume: Named { name: volume.name.clone(), uuid: volume.uuid.clone() },
            });
            target.record = Some(self.records().create(new_nonce()?, &boot_id()?, body)?);
            target.volume = activation::activate(self, volume)?;
        }
        target.open()?;
        Ok(target)
    }

    /// Makes a thin volume `name` of `size` (rounded up to the group's extents) in `pool` and opens
    /// it for writing. It reads as zeroes.
    ///
    /// # Errors
    /// A [`Refusal`] when a guard refuses, before anything is created; otherwise what failed.
    pub fn create_target(
        &self,
        pool: &Pool,
        name: &LvName,
        size: Bytes,
        limits: &PoolLimits,
    ) -> Result<Target, LvmError> {
        let inventory = self.inventory()?;
        let pool = inventory.find_pool(pool.uuid.as_str())?;
        let group = self.check_group(&inventory, &pool.vg_uuid)?;
        self.check_pool(&inventory, &pool.uuid, limits)?;
        check_new_name(&inventory, group, name)?;
        let body = CreatedBody {
            vg: Named { name: pool.vg.clone(), uuid: pool.vg_uuid.clone() },
            pool: Named { name: pool.name.clone(), uuid: pool.uuid.clone() },
            name: name.clone(),
            uuid: None,
            finished: false,
        };
        let record =
            self.records().create(new_nonce()?, &boot_id()?, Body::Created(body.clone()))?;
        let mut target = make(self, record, body, size)?;
        target.open()?;
        Ok(target)
    }
}

fn make(
    lvm: &Lvm,
    mut record: HeldRecord,
    body: CreatedBody,
    size: Bytes,
) -> Result<Target, LvmError> {
    let tag = record.nonce().tag()?;
    let result = lvm.commands().create_thin(&body.vg.name, &body.pool.name, &body.name, size, &tag);
    let found = match &result {
        Err(error) if !error.may_have_acted() => None,
        _ => lvm
            .volumes_of(&body.vg.name)?
            .into_iter()
            .find(|volume| volume.tags.iter().any(|has| has == tag.as_str())),
    };
    let Some(volume) = found else {
        record.remove()?;
        return Err(failure(result, &body, "lvcreate reports success, but there is no volume"));
    };
    let uuid = Some(volume.uuid.clone());
    record.update(Body::Created(CreatedBody { uuid, ..body.clone() }))?;
    // From here on dropping it removes the volume.
    let target = Target { lvm: lvm.clone(), volume, file: None, record: Some(record), mark: None };
    if result.is_err() || !target.volume.active {
        return Err(failure(result, &body, "the new volume is not active"));
    }
    Ok(target)
}

fn failure(result: Result<(), CommandError>, body: &CreatedBody, what: &str) -> LvmError {
    match result {
        Err(error) => error.into(),
        Ok(()) => LvmError::Unexpected {
            volume: format!("{}/{}", body.vg.name, body.name),
            what: what.to_owned(),
        },
    }
}

fn new_nonce() -> Result<Nonce, LvmError> {
    Nonce::random().map_err(|source| LvmError::io("read", "/dev/urandom", source))
}

fn holders_of(volume: &Volume) -> Result<Vec<String>, LvmError> {
    let Some(device) = volume.device else { return Ok(Vec::new()) };
    device::holders(device).map_err(|source| LvmError::io("list what uses", volume.alias(), source))
}

impl Target {
    /// Its UUID.
    pub fn uuid(&self) -> &LvmUuid {
        &self.volume.uuid
    }

    /// `VG/LV`.
    pub fn alias(&self) -> String {
        self.volume.alias()
    }

    /// Its size.
    pub fn size(&self) -> Bytes {
        self.volume.size
    }

    /// The size of a chunk, if the volume's pool hands out chunks with the bytes that they held before
    /// (`lvcreate -Zn`): what is written to a part of such a chunk brings them to light in the rest.
    ///
    /// # Errors
    /// When `dmsetup` cannot be run or understood.
    pub fn unzeroed_chunk(&self) -> Result<Option<Bytes>, LvmError> {
        let Some(pool) = MetadataSnapshotBody::of_pool(&self.volume) else { return Ok(None) };
        let table = self.lvm.dmsetup().thin_pool_table(&pool.dm_uuid())?;
        Ok(table.filter(|table| !table.zeroes_new_chunks).map(|table| table.chunk))
    }

    /// Another handle on the open device. The claim on it lasts until all of them are closed, and
    /// they must be before it is finished.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn file(&self) -> Result<File, LvmError> {
        let path = device::mapper_path(&self.volume);
        match &self.file {
            Some(file) => file.try_clone().map_err(|source| LvmError::io("open", path, source)),
            None => device::open(&self.volume, Access::Read),
        }
    }

    /// Keeps the volume as it was written, which is whole now: its mark goes. One that was made for
    /// it loses its tag and stays active; one that was activated for it is deactivated.
    ///
    /// # Errors
    /// What failed; a record then stays for recovery, which goes on with it.
    pub fn finish(mut self) -> Result<(), LvmError> {
        self.file = None;
        self.unmark()?;
        let Some(mut record) = self.record.take() else { return Ok(()) };
        if let Body::Created(body) = record.record().body.clone() {
            record.update(Body::Created(CreatedBody { finished: true, ..body }))?;
            remove_tag(&self.lvm, &self.volume, &record)?;
        } else {
            activation::deactivate(&self.lvm, &self.volume)?;
        }
        Ok(record.remove()?)
    }

    /// Takes back what was done to open it: see [`Target`].
    ///
    /// # Errors
    /// What failed; a record then stays for recovery, which goes on with it.
    pub fn abandon(mut self) -> Result<(), LvmError> {
        self.take_back()
    }

    fn open(&mut self) -> Result<(), LvmError> {
        let file = device::open(&self.volume, Access::Exclusive)?;
        // The claim keeps out mounts and other claimants, not a program that had the device open
        // before. udev may, for a moment.
        for check in 1.. {
            let info = self.lvm.dmsetup().info(&self.volume.dm_uuid())?;
            if info.is_some_and(|info| info.suspended) {
                let why = "is suspended".to_owned();
                return Err(Refusal::InUse { volume: self.volume.alias(), why }.into());
            }
            if info.is_some_and(|info| info.open_count == 1) {
                break;
            }
            if check == OPEN_CHECKS {
                let why = "is open in another process".to_owned();
                return Err(Refusal::InUse { volume: self.volume.alias(), why }.into());
            }
            activation::settle_devices();
            thread::sleep(OPEN_PAUSE);
        }
        self.file = Some(file);
        Ok(())
    }

    fn take_back(&mut self) -> Result<(), LvmError> {
        self.file = None;
        let Some(record) = self.record.take() else { return Ok(()) };
        if let Body::Created(_) = &record.record().body {
            let tag = record.nonce().tag()?;
            activation::remove(&self.lvm, &self.volume.vg, &self.volume.uuid, &tag)?;
        } else {
            activation::deactivate(&self.lvm, &self.volume)?;
        }
        Ok(record.remove()?)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // The record stays when this fails, and recovery does it.
        let _ = self.take_back();
    }
}

/// Takes the tag of `record` off `volume`.
pub(crate) fn remove_tag(lvm: &Lvm, volume: &Volume, record: &HeldRecord) -> Result<(), LvmError> {
    let tag = record.nonce().tag()?;
    let result = lvm.commands().remove_tag(&volume.vg, &volume.uuid, &tag);
    match lvm.reread(&volume.vg, &volume.uuid)? {
        Some(now) if now.tags.iter().any(|has| has == tag.as_str()) => {
            Err(result.err().map_or_else(
                || LvmError::Unexpected {
                    volume: volume.alias(),
                    what: format!("the tag {tag} is still on it"),
                },
                LvmError::from,
            ))
        }
        _ => Ok(()),
    }
}
