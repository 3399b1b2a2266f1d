//! What ties a snapshot to a moment of its volume, so that a later snapshot of that volume can be
//! asked what changed since, although the first one is gone.
//!
//! dm-thin notes with every mapping the pool's time at which it was made, and a write after a
//! snapshot never lands in a chunk that was mapped before it. So what a later snapshot has mapped at
//! the first one's time or later is what was written since. ARCHITECTURE.md has the argument, and
//! what it takes for granted: that the volume, its device in the pool and the pool's metadata are
//! still the same ones and have only gone forward. That is a [`Lineage`]; [`check`] compares one
//! with what is there now.

mod check;
mod tag;

use serde::{Deserialize, Serialize};

pub use check::Broken;
pub(crate) use check::{Later, check_later, check_place};
use check::{check_device, check_earlier};

use crate::dm_thin::{BlockSource, Device, MetadataError, Superblock, ThinMetadata};
use crate::error::LvmError;
use crate::host::Lvm;
use crate::inventory::Volume;
use crate::metadata_snapshot::MetadataSnapshot;
use crate::names::{LvName, LvmUuid};
use crate::record::MetadataSnapshotBody;
use crate::report;
use crate::snapshot::MapUnknown;

/// A moment of a volume: that of the snapshot which was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lineage {
    /// Of the volume, the snapshot's origin.
    pub place: PlaceInPool,
    /// The volume's size in bytes.
    pub volume_bytes: u64,
    /// The pool's time at which the snapshot was made.
    pub snapshot_time: u32,
    /// LVM's transaction number for the pool when the snapshot was read.
    pub pool_transaction: u64,
}

/// Which device of which pool a volume is, with all that would be different if it were another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlaceInPool {
    /// The volume group.
    pub vg_uuid: LvmUuid,
    /// The pool.
    pub pool_uuid: LvmUuid,
    /// The volume.
    pub volume_uuid: LvmUuid,
    /// Its number in the pool. LVM gives numbers out again.
    pub device: u32,
    /// The pool's time when that device was made.
    pub device_time: u32,
    /// LVM's transaction number when that device was made.
    pub device_transaction: u64,
    /// The pool's chunks, in bytes.
    pub chunk_bytes: u64,
    /// Where the pool's metadata lies. What repairs or swaps it puts it elsewhere.
    pub metadata: Vec<PhysicalExtents>,
}

/// Extents of a physical volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PhysicalExtents {
    /// The physical volume's UUID.
    pub pv_uuid: String,
    /// The first one.
    pub start: u64,
    /// How many.
    pub count: u64,
}

impl PlaceInPool {
    /// The place of the thin `volume`, whose device in the pool is `device`.
    pub(crate) fn new(
        volume: &Volume,
        pool_uuid: &LvmUuid,
        metadata: Vec<PhysicalExtents>,
        superblock: &Superblock,
        device: &Device,
    ) -> Self {
        Self {
            vg_uuid: volume.vg_uuid.clone(),
            pool_uuid: pool_uuid.clone(),
            volume_uuid: volume.uuid.clone(),
            device: device.id.get(),
            device_time: device.creation_time.get(),
            device_transaction: device.transaction_id,
            chunk_bytes: superblock.chunk.bytes().0,
            metadata,
        }
    }
}

impl Lvm {
    /// Whether `base` still holds for `volume`, as far as that can be told before the next snapshot
    /// is made, and only then. The pool keeps a metadata snapshot meanwhile; `go_on` is asked now
    /// and then.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub fn check_base(
        &self,
        volume: &Volume,
        base: &Lineage,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Result<(), Broken>, MapUnknown> {
        let (Some(pool), Some(id)) = (MetadataSnapshotBody::of_pool(volume), volume.thin_id) else {
            return Ok(Err(Broken::OtherVolume("it is in no thin pool")));
        };
        let checked = MetadataSnapshot::take(self, pool, go_on)?.read(|metadata| {
            let origin = match metadata.device(id) {
                Err(MetadataError::NoDevice(_)) => None,
                found => Some(found?),
            };
            check_metadata(metadata, base, origin.as_ref(), go_on)
        })?;
        Ok(checked)
    }
}

/// Whether `base` still holds by the pool's `metadata` before a further snapshot is made of the volume,
/// whose device is `origin`.
pub(crate) fn check_metadata<S: BlockSource>(
    metadata: &mut ThinMetadata<S>,
    base: &Lineage,
    origin: Option<&Device>,
    go_on: &dyn Fn() -> bool,
) -> Result<Result<(), Broken>, LvmError> {
    let mut checked = check_earlier(base, metadata.superblock(), origin);
    let mut after = None;
    while checked.is_ok() {
        let devices = metadata.devices_after(after)?;
        let Some(last) = devices.last() else { break };
        after = Some(last.id);
        checked = devices.iter().try_for_each(|device| check_device(base, device));
        if !go_on() {
            return Err(LvmError::Interrupted);
        }
    }
    Ok(checked)
}

/// Where the metadata of `pool` lies, all of its parts if it is mirrored.
pub(crate) fn metadata_extents(
    lvm: &Lvm,
    group: &LvmUuid,
    pool: &LvName,
) -> Result<Vec<PhysicalExtents>, LvmError> {
    let segments = report::parse_pv_segments(&lvm.commands().pv_segments(group)?)?;
    let (volume, parts) = (format!("{pool}_tmeta"), format!("{pool}_tmeta_"));
    let is_metadata = |name: &str| name == volume || name.starts_with(&parts);
    let mut extents: Vec<_> = segments
        .into_iter()
        .filter(|segment| is_metadata(segment.lv_name.trim_matches(['[', ']'])))
        .map(|segment| PhysicalExtents {
            pv_uuid: segment.pv_uuid,
            start: segment.pvseg_start,
            count: segment.pvseg_size,
        })
        .collect();
    extents.sort();
    Ok(extents)
}
