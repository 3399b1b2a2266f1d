//! What to do about one record, given the state of the host. Pure.

use std::fmt;
use std::path::PathBuf;

use crate::inventory::{Inventory, Volume, VolumeGroup};
use crate::metadata_snapshot::{Held, release_by_hand};
use crate::mounts::DeviceNumber;
use crate::names::{LvName, LvmUuid, VgName};
use crate::record::{
    ActivatedBody, Body, CreatedBody, MetadataSnapshotBody, MountBody, Named, Owner, Record,
    RestoringBody, SnapshotBody, SnapshotPhase,
};

/// What is done about a record.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// In this order; after a failure the rest is not done.
    pub(super) steps: Vec<Step>,
    /// Why something is left as it is.
    pub(super) left: Option<String>,
}

/// One act of recovery. Its text says what it does.
#[derive(Debug)]
pub(super) enum Step {
    Unmount { path: PathBuf, device: DeviceNumber },
    RemoveFolder { path: PathBuf },
    Deactivate { volume: Box<Volume> },
    RemoveVolume { volume: Box<Volume> },
    RemoveTag { volume: Box<Volume> },
    ReleaseMetadata { pool: Box<MetadataSnapshotBody> },
    ForgetMount,
    ForgetRecord,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmount { path, .. } => write!(f, "unmount {}", path.display()),
            Self::RemoveFolder { path } => write!(f, "remove the mount point {}", path.display()),
            Self::Deactivate { volume } => write!(f, "deactivate {}", volume.alias()),
            Self::RemoveVolume { volume } => write!(f, "remove {}", volume.alias()),
            Self::RemoveTag { volume } => write!(f, "take the owner's tag off {}", volume.alias()),
            Self::ReleaseMetadata { pool } => {
                write!(f, "release the metadata snapshot of {}", pool.alias())
            }
            Self::ForgetMount => f.write_str("strike the mount off the record"),
            Self::ForgetRecord => f.write_str("remove the record"),
        }
    }
}

impl Plan {
    fn steps(steps: Vec<Step>) -> Self {
        Self { steps, left: None }
    }

    fn left(why: String) -> Self {
        Self { steps: Vec::new(), left: Some(why) }
    }

    fn nothing_of_it() -> Self {
        Self::steps(vec![Step::ForgetRecord])
    }
}

/// Decides about `record`, whose process is gone. `held` is what the pool holds that a record of a
/// metadata snapshot is about.
pub(super) fn plan(record: &Record, inventory: &Inventory, boot_id: &str, held: Held) -> Plan {
    let group = match &record.body {
        Body::Snapshot(body) => &body.vg,
        Body::Created(body) => &body.vg,
        Body::Activated(body) => &body.vg,
        Body::MetadataSnapshot(body) => &body.vg,
        Body::Restoring(body) => &body.vg,
    };
    if let Err(why) = usable_group(inventory, group) {
        return Plan::left(why);
    }
    match &record.body {
        Body::Snapshot(body) => snapshot(record, body, inventory, boot_id),
        Body::Created(body) => created(record, body, inventory),
        Body::Activated(body) => activated(record, body, inventory, boot_id),
        Body::MetadataSnapshot(body) => metadata_snapshot(body, inventory, held),
        Body::Restoring(body) => restoring(body, inventory),
    }
}

/// The absence of a volume is only a fact where its group is seen as a whole.
fn usable_group(inventory: &Inventory, group: &Named<VgName>) -> Result<(), String> {
    let seen = |found: &VolumeGroup| {
        if found.exported {
            Err(format!("volume group {} is exported", found.name))
        } else if found.duplicate {
            Err(format!("volume group {} exists twice", found.name))
        } else {
            Ok(())
        }
    };
    match inventory.group(&group.uuid) {
        None => Err(format!("volume group {} ({}) is not visible", group.name, group.uuid)),
        Some(found) => seen(found),
    }
}

/// What a record says and what is there.
enum Owned<'a> {
    /// The volume is there, and record and tag agree.
    Agrees(&'a Volume),
    /// Nothing is there that the record could mean.
    Gone,
    /// Something is there, and it is not certain that it is ours.
    Disagrees(String),
}

/// The volume that was made under `record`: UUID and tag agree, or, where no UUID was recorded, the
/// name, the tag and what the volume must be.
fn owned<'a>(
    record: &Record,
    name: &LvName,
    uuid: Option<&LvmUuid>,
    group: &LvmUuid,
    inventory: &'a Inventory,
    is_kind: impl Fn(&Volume) -> bool,
) -> Owned<'a> {
    let Ok(tag) = record.nonce.tag() else {
        return Owned::Disagrees("its nonce makes no tag".to_owned());
    };
    let tagged = |volume: &Volume| volume.tags.iter().any(|has| has == tag.as_str());
    if let Some(uuid) = uuid {
        match inventory.volume(uuid) {
            Some(volume) if tagged(volume) => return Owned::Agrees(volume),
            Some(volume) => {
                return Owned::Disagrees(format!("{} does not carry {tag}", volume.alias()));
            }
            None => {}
        }
    }
    let mut with_tag = inventory.volumes.iter().filter(|volume| tagged(volume));
    match (with_tag.next(), with_tag.next()) {
        (None, _) => Owned::Gone,
        (Some(volume), None)
            if uuid.is_none()
                && volume.vg_uuid == *group
                && volume.name == *name
                && is_kind(volume) =>
        {
            Owned::Agrees(volume)
        }
        (Some(volume), _) => Owned::Disagrees(format!(
            "{} carries {tag}, but the record is about {name}{}",
            volume.alias(),
            uuid.map(|uuid| format!(" ({uuid})")).unwrap_or_default(),
        )),
    }
}

fn snapshot(record: &Record, body: &SnapshotBody, inventory: &Inventory, boot_id: &str) -> Plan {
    let is_snapshot = |volume: &Volume| {
        volume.is_thin() && volume.origin_uuid.as_ref() == Some(&body.origin.uuid)
    };
    let uuid = body.uuid.as_ref();
    let volume = match owned(record, &body.name, uuid, &body.vg.uuid, inventory, is_snapshot) {
        Owned::Gone => return Plan::nothing_of_it(),
        Owned::Disagrees(why) => return Plan::left(why),
        Owned::Agrees(volume) => volume,
    };
    let stays = body.phase == SnapshotPhase::Complete && is_wanted(body, inventory);
    let mount = body.mount.as_ref();
    if stays && mount.is_none_or(|mount| is_whole(mount, volume, boot_id)) {
        return Plan::default();
    }
    let mut steps = Vec::new();
    let mut ours = 0;
    if let Some(mount) = mount {
        let this_boot = mount.boot_id == boot_id;
        let at_path = volume.mounts.iter().find(|found| found.path == mount.path);
        if let Some(found) = at_path.filter(|_| this_boot) {
            steps.push(Step::Unmount { path: mount.path.clone(), device: found.device });
            ours = 1;
        } else if this_boot {
            steps.push(Step::RemoveFolder { path: mount.path.clone() });
        }
    }
    // Mounted elsewhere, or in another mount namespace: not by us, and not ours to end.
    let in_use = volume.mounts.len() > ours || (volume.open && ours == 0);
    if in_use {
        return Plan::left(format!("{} is in use", volume.alias()));
    }
    if stays {
        if volume.active {
            steps.push(Step::Deactivate { volume: Box::new(volume.clone()) });
        }
        steps.push(Step::ForgetMount);
    } else {
        steps.push(Step::RemoveVolume { volume: Box::new(volume.clone()) });
        steps.push(Step::ForgetRecord);
    }
    Plan::steps(steps)
}

/// Whether a complete snapshot has somebody it stays for, now that its process is gone.
fn is_wanted(body: &SnapshotBody, inventory: &Inventory) -> bool {
    match &body.owner {
        Owner::Job(_) => false,
        Owner::Operator => true,
        // Handing over from one base to the next is the one change of the origin's tag.
        Owner::Base(kept) => inventory
            .volume(&body.origin.uuid)
            .is_some_and(|origin| origin.base().as_ref() == Some(&kept.note)),
    }
}

/// Whether an operator's mount is as it was made.
fn is_whole(mount: &MountBody, volume: &Volume, boot_id: &str) -> bool {
    mount.complete
        && mount.boot_id == boot_id
        && volume.mounts.iter().any(|found| found.path == mount.path)
}

fn created(record: &Record, body: &CreatedBody, inventory: &Inventory) -> Plan {
    let is_new = |volume: &Volume| {
        volume.pool_uuid.as_ref() == Some(&body.pool.uuid) && volume.origin.is_none()
    };
    let uuid = body.uuid.as_ref();
    let found = owned(record, &body.name, uuid, &body.vg.uuid, inventory, is_new);
    match found {
        Owned::Gone => Plan::nothing_of_it(),
        // Its tag is the first thing that a finished volume loses.
        Owned::Disagrees(_) if body.finished => Plan::nothing_of_it(),
        Owned::Disagrees(why) => Plan::left(why),
        Owned::Agrees(volume) if body.finished => Plan::steps(vec![
            Step::RemoveTag { volume: Box::new(volume.clone()) },
            Step::ForgetRecord,
        ]),
        Owned::Agrees(volume) if volume.open => {
            Plan::left(format!("{} was left half restored and is in use", volume.alias()))
        }
        Owned::Agrees(volume) => Plan::steps(vec![
            Step::RemoveVolume { volume: Box::new(volume.clone()) },
            Step::ForgetRecord,
        ]),
    }
}

fn activated(record: &Record, body: &ActivatedBody, inventory: &Inventory, boot_id: &str) -> Plan {
    match inventory.volume(&body.volume.uuid) {
        // Once someone else has it open, the activation is theirs.
        Some(volume) if volume.active && !volume.open && record.boot_id == boot_id => {
            Plan::steps(vec![
                Step::Deactivate { volume: Box::new(volume.clone()) },
                Step::ForgetRecord,
            ])
        }
        _ => Plan::nothing_of_it(),
    }
}

/// What is half restored stays marked until a restore to it is done.
fn restoring(body: &RestoringBody, inventory: &Inventory) -> Plan {
    match inventory.volume(&body.volume.uuid) {
        Some(volume) if volume.restoring() == Some(body.job.as_str()) => Plan::default(),
        _ => Plan::nothing_of_it(),
    }
}

fn metadata_snapshot(body: &MetadataSnapshotBody, inventory: &Inventory, held: Held) -> Plan {
    if inventory.pool(&body.pool.uuid).is_none() {
        return Plan::nothing_of_it();
    }
    match (held, body.taken) {
        (Held::Nothing, _) => Plan::nothing_of_it(),
        (Held::Inactive, _) => Plan::left(format!(
            "pool {} is not active; whether it still holds a metadata snapshot of ours cannot be \
             told before it is",
            body.alias()
        )),
        (Held::Snapshot(found), Some(taken)) if found == taken => Plan::steps(vec![
            Step::ReleaseMetadata { pool: Box::new(body.clone()) },
            Step::ForgetRecord,
        ]),
        // Ours is gone; this is another program's.
        (Held::Snapshot(_), Some(_)) => Plan::nothing_of_it(),
        (Held::Snapshot(found), None) => Plan::left(format!(
            "pool {} holds a metadata snapshot (in block {}) that may be ours or another \
             program's; if nothing reads it, release it with `{}`",
            body.alias(),
            found.block,
            release_by_hand(body)
        )),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
