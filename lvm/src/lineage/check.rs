//! Whether a lineage still holds. Pure: what was recorded, what is there, a verdict.

use super::{Lineage, PlaceInPool};
use crate::dm_thin::{Device, DeviceId, PoolTime, Superblock};

/// So close to the end of the pool's clock nothing is concluded from it any more.
const TIME_MARGIN: u32 = 1 << 10;

/// Why nothing can be concluded from an earlier snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The volume is another one, in another pool or group, or it is gone.
    #[error("the volume is not the one that was backed up: {0}")]
    OtherVolume(&'static str),
    /// The volume has another device in the pool: a snapshot was merged into it, or it was made
    /// anew.
    #[error("the volume is another device of its pool: a snapshot was merged into it, or {0}")]
    OtherDevice(&'static str),
    /// The pool's metadata lies elsewhere: it was repaired, swapped or moved.
    #[error("the pool's metadata was repaired, swapped or moved")]
    MetadataMoved,
    /// The pool's metadata is older than what was recorded, or has been.
    #[error("the pool's metadata was set back: {0}")]
    MetadataSetBack(String),
    /// The pool's clock is near its end.
    #[error("the pool's clock is near its end (time {0} of 24 bits)")]
    ClockAtEnd(u32),
}

/// What is there after the later snapshot was made.
pub(crate) struct Later<'a> {
    pub(crate) place: &'a PlaceInPool,
    pub(crate) superblock: &'a Superblock,
    /// The volume's device.
    pub(crate) origin: &'a Device,
    /// The later snapshot's.
    pub(crate) snapshot: &'a Device,
}

/// Before the later snapshot is made: making it moves the pool's clock on and stamps the volume,
/// after which metadata that was set back can no longer be told.
pub(crate) fn check_earlier(
    lineage: &Lineage,
    superblock: &Superblock,
    origin: Option<&Device>,
) -> Result<(), Broken> {
    let set_back = |what: String| Err(Broken::MetadataSetBack(what));
    let time = superblock.time.get();
    if time < lineage.snapshot_time {
        let at = lineage.snapshot_time;
        return set_back(format!("its time is {time}, and was {at} at the last backup"));
    }
    if superblock.transaction_id < lineage.pool_transaction {
        return set_back(format!(
            "its transaction is {}, and was {} at the last backup",
            superblock.transaction_id, lineage.pool_transaction
        ));
    }
    if time.saturating_add(TIME_MARGIN) > PoolTime::MAX {
        return Err(Broken::ClockAtEnd(time));
    }
    let origin = origin.ok_or(Broken::OtherDevice("it has none"))?;
    same_device(&lineage.place, origin)?;
    if origin.snapshotted_time.get() < lineage.snapshot_time {
        return set_back(format!(
            "it knows of no snapshot of the volume since time {}, and the last backup's was made \
             at {}",
            origin.snapshotted_time, lineage.snapshot_time
        ));
    }
    Ok(())
}

/// As [`check_earlier`], of any device of the pool: transactions of LVM come after one another, and
/// so do times. Where the two disagree the metadata was set back, given LVM's number, and went on
/// from there.
pub(crate) fn check_device(lineage: &Lineage, device: &Device) -> Result<(), Broken> {
    let is_later = device.transaction_id >= lineage.pool_transaction;
    if is_later && device.creation_time.get() < lineage.snapshot_time {
        return Err(Broken::MetadataSetBack(format!(
            "device {} was made after the last backup at the earlier time {}",
            device.id, device.creation_time
        )));
    }
    Ok(())
}

/// After the later snapshot was made.
pub(crate) fn check_later(lineage: &Lineage, now: &Later) -> Result<(), Broken> {
    check_place(lineage, now.place)?;
    same_device(&lineage.place, now.origin)?;
    if now.superblock.transaction_id < lineage.pool_transaction
        || now.snapshot.creation_time.get() <= lineage.snapshot_time
        || now.origin.snapshotted_time < now.snapshot.creation_time
    {
        return Err(Broken::MetadataSetBack("the times of its snapshots contradict it".into()));
    }
    Ok(())
}

/// Whether the volume is in the same place of the same pool.
pub(crate) fn check_place(lineage: &Lineage, place: &PlaceInPool) -> Result<(), Broken> {
    let then = &lineage.place;
    if (&then.vg_uuid, &then.pool_uuid) != (&place.vg_uuid, &place.pool_uuid) {
        return Err(Broken::OtherVolume("it is in another group or pool"));
    }
    if then.volume_uuid != place.volume_uuid {
        return Err(Broken::OtherVolume("its UUID is another"));
    }
    if then.chunk_bytes != place.chunk_bytes {
        return Err(Broken::OtherVolume("its pool has other chunks"));
    }
    if then.metadata.is_empty() || then.metadata != place.metadata {
        return Err(Broken::MetadataMoved);
    }
    Ok(())
}

fn same_device(then: &PlaceInPool, now: &Device) -> Result<(), Broken> {
    if DeviceId::new(then.device) != Some(now.id) {
        return Err(Broken::OtherDevice("it was made anew"));
    }
    let same = then.device_time == now.creation_time.get()
        && then.device_transaction == now.transaction_id;
    if same { Ok(()) } else { Err(Broken::OtherDevice("its number was given out again")) }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
