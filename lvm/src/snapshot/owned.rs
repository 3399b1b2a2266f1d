//! The snapshots that thinmover has made, found by their records.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::mounting;
use crate::activation;
use crate::error::LvmError;
use crate::guard::Refusal;
use crate::host::Lvm;
use crate::inventory::{Inventory, Volume};
use crate::names::{LvName, LvmUuid, VgName};
use crate::record::{Body, HeldRecord, Owner, Record, SnapshotBody, SnapshotPhase};
use crate::units::Bytes;

/// How long a command of the operator's waits for another one at the same snapshot.
const WAIT_LIMIT: Duration = Duration::from_secs(10);

/// A snapshot that thinmover has made and that exists.
#[derive(Clone, Debug)]
pub struct OwnedSnapshot {
    /// Its group.
    pub vg: VgName,
    /// Its name.
    pub name: LvName,
    /// Its UUID.
    pub uuid: LvmUuid,
    /// The name of what it is a snapshot of, when it was made.
    pub origin: LvName,
    /// That volume's UUID.
    pub origin_uuid: LvmUuid,
    /// Its virtual size.
    pub size: Bytes,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Where it is mounted.
    pub mounted_at: Option<PathBuf>,
    /// Whose it is.
    pub owner: Owner,
}

impl Lvm {
    /// The snapshots that thinmover has made and that exist, by name.
    ///
    /// # Errors
    /// When LVM or the records cannot be read. Single unreadable records are left out;
    /// [`recover`](Lvm::recover) reports them.
    pub fn snapshots(&self) -> Result<Vec<OwnedSnapshot>, LvmError> {
        let inventory = self.inventory()?;
        let (records, _) = self.records().read_all()?;
        let mut snapshots: Vec<OwnedSnapshot> =
            records.iter().filter_map(|record| owned(record, &inventory)).collect();
        snapshots.sort_by(|a, b| (&a.vg, &a.name).cmp(&(&b.vg, &b.name)));
        Ok(snapshots)
    }

    /// Deletes the snapshot `spec` (`VG/LV`, name or UUID), one that thinmover has made.
    ///
    /// # Errors
    /// [`LvmError::NotFound`] when it is not one of those, a [`Refusal`] while it is mounted or a
    /// job is reading it.
    pub fn delete_snapshot(&self, spec: &str) -> Result<(), LvmError> {
        let (mut held, body, volume) = self.hold_snapshot(spec)?;
        if let Some(mount) = volume.mounts.first() {
            let path = mount.path.clone();
            return Err(Refusal::Mounted { volume: volume.alias(), path }.into());
        }
        if body.mount.is_some() {
            mounting::forget(self, &mut held)?;
        }
        let body = SnapshotBody { phase: SnapshotPhase::Deleting, mount: None, ..body };
        held.update(Body::Snapshot(body))?;
        let tag = held.nonce().tag()?;
        activation::remove(self, &volume.vg, &volume.uuid, &tag)?;
        Ok(held.remove()?)
    }

    /// Locks the record of the snapshot `spec` and looks the snapshot up.
    pub(super) fn hold_snapshot(
        &self,
        spec: &str,
    ) -> Result<(HeldRecord, SnapshotBody, Volume), LvmError> {
        let inventory = self.inventory()?;
        let volume = inventory.find_volume(spec)?;
        let (records, _) = self.records().read_all()?;
        let record = records
            .iter()
            .find(|record| matches(record, volume))
            .ok_or_else(|| not_ours(volume))?;
        let held = self.records().hold(&record.nonce, WAIT_LIMIT)?;
        // What was read before the lock was taken may be old.
        let volume = self
            .reread(&volume.vg, &volume.uuid)?
            .filter(|volume| matches(held.record(), volume))
            .ok_or_else(|| not_ours(volume))?;
        self.check_group(&inventory, &volume.vg_uuid)?;
        match &held.record().body {
            Body::Snapshot(body) => {
                let body = body.clone();
                Ok((held, body, volume))
            }
            _ => Err(not_ours(&volume)),
        }
    }
}

fn not_ours(volume: &Volume) -> LvmError {
    LvmError::NotFound {
        spec: volume.alias(),
        hint: " among the snapshots that thinmover has made".to_owned(),
    }
}

/// Whether `record` tells of the snapshot `volume`, and its tag agrees.
pub(super) fn matches(record: &Record, volume: &Volume) -> bool {
    let Body::Snapshot(body) = &record.body else { return false };
    body.uuid.as_ref() == Some(&volume.uuid)
        && record.nonce.tag().is_ok_and(|tag| volume.tags.iter().any(|has| has == tag.as_str()))
}

fn owned(record: &Record, inventory: &Inventory) -> Option<OwnedSnapshot> {
    let Body::Snapshot(body) = &record.body else { return None };
    let volume = inventory.volume(body.uuid.as_ref()?)?;
    matches(record, volume).then(|| OwnedSnapshot {
        vg: volume.vg.clone(),
        name: volume.name.clone(),
        uuid: volume.uuid.clone(),
        origin: body.origin.name.clone(),
        origin_uuid: body.origin.uuid.clone(),
        size: volume.size,
        created_at: record.created_at,
        mounted_at: volume.mounts.first().map(|mount| mount.path.clone()),
        owner: body.owner.clone(),
    })
}
