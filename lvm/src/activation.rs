//! Activating, deactivating and removing volumes. After each command the state is read again:
//! LVM reports failures of what it has done, and successes of what it has not.

use std::thread;
use std::time::Duration;

use crate::command::{CommandError, settle};
use crate::error::LvmError;
use crate::guard::Refusal;
use crate::host::Lvm;
use crate::inventory::Volume;
use crate::names::{LvmUuid, Tag, VgName};
use crate::quiet;

/// How often a volume that is said to be in use is tried again: udev opens what is activated or
/// changed for a moment.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

/// Activates `volume`, though it be marked to be skipped, and returns it as it is then.
pub(crate) fn activate(lvm: &Lvm, volume: &Volume) -> Result<Volume, LvmError> {
    let result = lvm.commands().activate(&volume.vg, &volume.uuid);
    match reread_after(lvm, volume, &result)? {
        Some(now) if now.active => Ok(now),
        state => Err(explain(result, volume, state.as_ref(), "it did not become active")),
    }
}

/// As [`activate`], for a snapshot under a held record: udev is to make nothing of what is in it.
/// Whoever makes it inactive again calls [`quiet::end`].
pub(crate) fn activate_quietly(lvm: &Lvm, volume: &Volume) -> Result<Volume, LvmError> {
    quiet::begin(volume)?;
    activate(lvm, volume)
}

/// Deactivates `volume`. Whether it was active does not matter.
pub(crate) fn deactivate(lvm: &Lvm, volume: &Volume) -> Result<(), LvmError> {
    until_free(|| {
        let result = lvm.commands().deactivate(&volume.vg, &volume.uuid);
        match reread_after(lvm, volume, &result)? {
            Some(now) if now.active => {
                Err(explain(result, volume, Some(&now), "it is still active"))
            }
            _ => Ok(()),
        }
    })
}

/// Removes the volume that has both `uuid` and `tag`; whether it still exists does not matter.
pub(crate) fn remove(lvm: &Lvm, group: &VgName, uuid: &LvmUuid, tag: &Tag) -> Result<(), LvmError> {
    until_free(|| {
        let result = lvm.commands().remove(group, uuid, tag);
        if let Err(error) = &result
            && !error.may_have_acted()
        {
            return result.map_err(LvmError::from);
        }
        match lvm.reread(group, uuid)? {
            None => Ok(()),
            Some(left) if !left.tags.iter().any(|has| has == tag.as_str()) => {
                Err(LvmError::Unexpected {
                    volume: left.alias(),
                    what: format!("it no longer carries the tag {tag}, so it is left alone"),
                })
            }
            Some(left) => Err(explain(result, &left, Some(&left), "it was not removed")),
        }
    })
}

/// Waits until udev is done with what happened before.
pub(crate) fn settle_devices() {
    settle(SETTLE_LIMIT);
}

fn until_free(mut attempt: impl FnMut() -> Result<(), LvmError>) -> Result<(), LvmError> {
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(LvmError::Refused(Refusal::InUse { .. })) => {
                settle_devices();
                thread::sleep(PAUSE);
            }
            done => return done,
        }
    }
    attempt()
}

fn reread_after(
    lvm: &Lvm,
    volume: &Volume,
    result: &Result<(), CommandError>,
) -> Result<Option<Volume>, LvmError> {
    match result {
        Err(error) if !error.may_have_acted() => Ok(None),
        _ => lvm.reread(&volume.vg, &volume.uuid),
    }
}

/// The error to report when a volume is not as it should be after a command.
fn explain(
    result: Result<(), CommandError>,
    volume: &Volume,
    now: Option<&Volume>,
    what: &str,
) -> LvmError {
    if now.is_some_and(|now| now.open) {
        let why = match &result {
            Err(error) => format!("is in use: {error}"),
            Ok(()) => "is in use".to_owned(),
        };
        return Refusal::InUse { volume: volume.alias(), why }.into();
    }
    match result {
        Err(error) => error.into(),
        Ok(()) if now.is_none() => LvmError::gone(volume),
        Ok(()) => LvmError::Unexpected { volume: volume.alias(), what: what.to_owned() },
    }
}
