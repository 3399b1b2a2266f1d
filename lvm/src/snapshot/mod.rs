//! Thin snapshots made by thinmover: guarded, recorded before they exist, tagged at birth, inactive
//! except while they are read.
//!
//! A job's snapshot is a value, [`Snapshot`], and goes with it. An operator's snapshot stays until
//! it is deleted; [`owned`] lists and deletes both, [`mounting`] mounts them. [`map`] reads which of
//! its chunks there are, [`compare`] only those that an earlier one has not; that one stayed in the
//! pool, as [`kept`] says.

mod compare;
mod kept;
pub(crate) mod map;
pub(crate) mod mounting;
mod owned;

use std::fs::File;
use std::time::{Duration, Instant};

pub use kept::KeptBase;
pub use map::{Chunks, MapUnknown, SinceBase, ThinMap};
pub use mounting::{Filesystem, MountedSnapshot};
pub use owned::OwnedSnapshot;

use crate::activation;
use crate::command::CommandError;
use crate::device::{self, Access};
use crate::dm_thin::Device;
use crate::error::LvmError;
use crate::guard::{self, PoolLimits};
use crate::host::{Lvm, boot_id, check_new_name};
use crate::inventory::Volume;
use crate::names::{LvName, LvmUuid};
use crate::quiet;
use crate::record::{Body, HeldRecord, Named, Nonce, Owner, SnapshotBody, SnapshotPhase};
use crate::units::Bytes;

/// Digits of the nonce in the name of a snapshot that nobody named.
const NAME_DIGITS: usize = 8;

/// What a snapshot is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// For the job with this id; it does not outlive the process.
    Job {
        /// The job's id.
        id: String,
    },
    /// For an operator; it stays until it is deleted.
    Operator {
        /// Its name; one is made up if it is left out.
        name: Option<LvName>,
    },
}

/// A snapshot in the hands of the process that made it.
///
/// Dropping a job's snapshot removes it, unless it was [kept](Snapshot::keep), as well as that can be
/// done; what fails then, or does not happen because the process dies, is done by recovery.
#[derive(Debug)]
pub struct Snapshot {
    lvm: Lvm,
    volume: Volume,
    /// What it is a snapshot of, as that was right after it was made.
    origin: Volume,
    created_in: Duration,
    /// As it was when it was mapped.
    device: Option<Device>,
    /// `None` once there is nothing left to do.
    record: Option<HeldRecord>,
}

impl Lvm {
    /// Makes a read-only thin snapshot of `origin`, which is looked up again by its UUID. A
    /// filesystem mounted directly on it is frozen by the kernel meanwhile, so that the snapshot
    /// is one of a consistent filesystem; anything in between (LUKS, a virtual machine) gets a
    /// crash-consistent one.
    ///
    /// # Errors
    /// A [`Refusal`](crate::Refusal) when a guard refuses, before anything is created; otherwise
    /// what failed, with nothing left behind or a record for recovery.
    pub fn create_snapshot(
        &self,
        origin: &Volume,
        purpose: Purpose,
        limits: &PoolLimits,
    ) -> Result<Snapshot, LvmError> {
        let inventory = self.inventory()?;
        let origin = inventory.find_volume(origin.uuid.as_str())?;
        let group = self.check_group(&inventory, &origin.vg_uuid)?;
        guard::check_origin(origin)?;
        if let Some(pool) = &origin.pool_uuid {
            self.check_pool(&inventory, pool, limits)?;
        }
        let (owner, name) = match purpose {
            Purpose::Job { id } => (Owner::Job(id), None),
            Purpose::Operator { name } => (Owner::Operator, name),
        };
        let nonce =
            Nonce::random().map_err(|source| LvmError::io("read", "/dev/urandom", source))?;
        let name = match name {
            Some(name) => name,
            None => LvName::new(format!("thinmover-{:.NAME_DIGITS$}", nonce.as_str()))?,
        };
        check_new_name(&inventory, group, &name)?;

        let body = SnapshotBody {
            owner,
            vg: Named { name: origin.vg.clone(), uuid: origin.vg_uuid.clone() },
            origin: Named { name: origin.name.clone(), uuid: origin.uuid.clone() },
            name,
            uuid: None,
            phase: SnapshotPhase::Creating,
            mount: None,
        };
        let record = self.records().create(nonce, &boot_id()?, Body::Snapshot(body.clone()))?;
        create(self, record, body)
    }
}

fn create(lvm: &Lvm, mut record: HeldRecord, body: SnapshotBody) -> Result<Snapshot, LvmError> {
    let tag = record.nonce().tag()?;
    let begun = Instant::now();
    let result = lvm.commands().create_snapshot(&body.vg.name, &body.origin.name, &body.name, &tag);
    let created_in = begun.elapsed();
    if let Err(error) = &result
        && !error.may_have_acted()
    {
        record.remove()?;
        return Err(failure(result, &body));
    }
    let mut volumes = lvm.volumes_of(&body.vg.name)?;
    let tagged = |volume: &Volume| volume.tags.iter().any(|has| has == tag.as_str());
    let Some(volume) = volumes.iter().position(tagged).map(|at| volumes.swap_remove(at)) else {
        record.remove()?;
        return Err(failure(result, &body));
    };
    let right = volume.origin_uuid.as_ref() == Some(&body.origin.uuid) && volume.read_only;
    let origin = volumes.into_iter().find(|volume| right && volume.uuid == body.origin.uuid);
    let body =
        SnapshotBody { uuid: Some(volume.uuid.clone()), phase: SnapshotPhase::Complete, ..body };
    if let (Some(origin), Ok(())) = (origin, &result) {
        record.update(Body::Snapshot(body))?;
        let (lvm, record) = (lvm.clone(), Some(record));
        return Ok(Snapshot { lvm, volume, origin, created_in, device: None, record });
    }
    // It exists, and yet LVM reports a failure or it is not what was asked for.
    activation::remove(lvm, &volume.vg, &volume.uuid, &tag)?;
    record.remove()?;
    Err(match result {
        Err(error) => error.into(),
        Ok(()) => LvmError::Unexpected {
            volume: volume.alias(),
            what: "the snapshot was made of another volume, or writable; it was removed".into(),
        },
    })
}

/// The error when there is no snapshot after `lvcreate` ended with `result`.
fn failure(result: Result<(), CommandError>, body: &SnapshotBody) -> LvmError {
    match result {
        Err(error) => error.into(),
        Ok(()) => LvmError::Unexpected {
            volume: format!("{}/{}", body.vg.name, body.name),
            what: "lvcreate reports success, but there is no such snapshot".into(),
        },
    }
}

impl Snapshot {
    /// Its name in its group.
    pub fn name(&self) -> &LvName {
        &self.volume.name
    }

    /// `VG/LV`.
    pub fn alias(&self) -> String {
        self.volume.alias()
    }

    /// Its UUID.
    pub fn uuid(&self) -> &LvmUuid {
        &self.volume.uuid
    }

    /// Its virtual size.
    pub fn size(&self) -> Bytes {
        self.volume.size
    }

    /// How long the command took that made it: the time a filesystem was frozen is within it.
    pub fn created_in(&self) -> Duration {
        self.created_in
    }

    /// Activates it, if it is not active, and opens it for reading.
    ///
    /// # Errors
    /// When it does not become active, or what opens is another device.
    pub fn open(&mut self) -> Result<File, LvmError> {
        self.activate()?;
        device::open(&self.volume, Access::Read)
    }

    fn activate(&mut self) -> Result<(), LvmError> {
        if !self.volume.active {
            self.volume = activation::activate_quietly(&self.lvm, &self.volume)?;
        }
        Ok(())
    }

    /// Deactivates and removes it, and its record.
    ///
    /// # Errors
    /// When it is still open, or LVM fails; its record then stays for recovery.
    pub fn remove(mut self) -> Result<(), LvmError> {
        self.take_away()
    }

    fn take_away(&mut self) -> Result<(), LvmError> {
        let Some(record) = self.record.take() else { return Ok(()) };
        let tag = record.nonce().tag()?;
        activation::remove(&self.lvm, &self.volume.vg, &self.volume.uuid, &tag)?;
        quiet::end(record.record())?;
        Ok(record.remove()?)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let is_jobs = self.record.as_ref().is_some_and(|held| {
            matches!(&held.record().body, Body::Snapshot(body) if matches!(body.owner, Owner::Job(_)))
        });
        if is_jobs {
            // The record stays when this fails, and recovery does it.
            let _ = self.take_away();
        }
    }
}
