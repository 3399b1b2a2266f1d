//! Keeping udev's hands off a snapshot while it is active.
//!
//! A snapshot carries its origin's filesystem UUID and label. udev would point
//! `/dev/disk/by-uuid/…` at whichever was activated last, and offer to mdadm and LVM what they know
//! already from the origin. The udev rule `systemd/udev/12-thinmover.rules` prevents that for each
//! volume for which there is a file named like its device-mapper UUID in `/run/thinmover/quiet`:
//! this module makes and removes that file.
//!
//! udev's rules see neither LVM's tags nor our records, a name proves nothing (an operator chooses
//! it), and LVM has no option that lets an activation set these flags. A file whose name is the
//! UUID says exactly which volume is meant, and udev needs to run nothing to see it.
//!
//! # How long it is there
//! Rules run again with every event (`udevadm trigger`, a resize), so it is there as long as the
//! activation: made before the command that activates, removed after the snapshot is seen to be
//! inactive or gone. Both are done under the snapshot's held record, and before the record forgets
//! about the activation. So a process that dies in between leaves a record, and recovery, which
//! acts on it, removes the file; a reboot, which deactivates all snapshots, empties `/run`.
//!
//! A snapshot that someone else has activated gets no file, neither then nor when thinmover mounts
//! it: its links have been made. And systemd, which may have started units for the device, would
//! see it vanish.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::error::LvmError;
use crate::host::make_folder;
use crate::inventory::Volume;
use crate::names::dm_uuid;
use crate::record::{Body, Record};

/// Where the udev rule looks. It cannot know of another runtime folder in the configuration.
const FOLDER: &str = "/run/thinmover/quiet";

/// Tells udev to leave `volume`, which is inactive, alone. Doing it again does no harm.
pub(crate) fn begin(volume: &Volume) -> Result<(), LvmError> {
    make_folder(Path::new("/run/thinmover"), 0o755)?;
    make_folder(Path::new(FOLDER), 0o700)?;
    let path = Path::new(FOLDER).join(volume.dm_uuid());
    // Not durable: like the activation it does not outlive the boot.
    File::create(&path).map(drop).map_err(|source| LvmError::io("create", path, source))
}

/// Takes back what was told of the snapshot of `record`, if anything was: it is inactive or gone.
pub(crate) fn end(record: &Record) -> Result<(), LvmError> {
    let Body::Snapshot(body) = &record.body else { return Ok(()) };
    let Some(uuid) = &body.uuid else { return Ok(()) };
    let path = Path::new(FOLDER).join(dm_uuid(&body.vg.uuid, uuid));
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LvmError::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_udev_rule_looks_into_the_same_folder() {
        let rules = include_str!("../../systemd/udev/12-thinmover.rules");
        assert!(rules.contains(&format!("TEST==\"{FOLDER}/$attr{{dm/uuid}}\"")), "{FOLDER}");
    }
}
