//! Mounting a snapshot for an operator under `RUNTIME_DIR/mnt/NAME`, recorded until it is unmounted
//! or the host is booted again.

use std::fs;
use std::path::{Path, PathBuf};

use crate::activation;
use crate::device;
use crate::error::LvmError;
use crate::guard::Refusal;
use crate::host::{Lvm, boot_id};
use crate::inventory::Volume;
use crate::mount;
use crate::quiet;
use crate::record::{Body, HeldRecord, MountBody, SnapshotBody};

pub use crate::mount::Filesystem;

/// A snapshot that was mounted.
#[derive(Clone, Debug)]
pub struct MountedSnapshot {
    /// Where.
    pub path: PathBuf,
    /// What an operator should know of it.
    pub warnings: Vec<String>,
}

impl Lvm {
    /// Mounts the snapshot `spec` (`VG/LV`, name or UUID) read-only. Without `filesystem` it is
    /// taken to be what its origin is mounted as; a filesystem is never probed, for its first
    /// bytes are the application's to choose.
    ///
    /// # Errors
    /// [`LvmError::NotFound`] for what is no snapshot of thinmover's; a [`Refusal`] where it is
    /// mounted already or its filesystem is not known; else what failed, undone.
    pub fn mount_snapshot(
        &self,
        spec: &str,
        filesystem: Option<Filesystem>,
    ) -> Result<MountedSnapshot, LvmError> {
        let (mut held, body, volume) = self.hold_snapshot(spec)?;
        if let Some(mount) = volume.mounts.first() {
            let path = mount.path.clone();
            return Err(Refusal::Mounted { volume: volume.alias(), path }.into());
        }
        let filesystem = match filesystem {
            Some(filesystem) => filesystem,
            None => self.filesystem_of_origin(&volume, &body)?,
        };
        let path = self.ensure_private_dir("mnt")?.join(volume.name.as_str());
        if self.mounts()?.iter().any(|mount| mount.path == path) {
            let why = "has another group's snapshot of that name mounted".to_owned();
            return Err(Refusal::InUse { volume: path.display().to_string(), why }.into());
        }
        let mount = MountBody { path: path.clone(), boot_id: boot_id()?, complete: false };
        let with = |mount| Body::Snapshot(SnapshotBody { mount, ..body.clone() });
        held.update(with(Some(mount.clone())))?;
        match self.mount_at(&volume, &path, filesystem) {
            Ok(warning) => {
                held.update(with(Some(MountBody { complete: true, ..mount })))?;
                Ok(MountedSnapshot { path, warnings: warning.into_iter().collect() })
            }
            Err(error) => {
                // If this fails too, the record stays and recovery goes on from it.
                let _ = forget(self, &mut held);
                Err(error)
            }
        }
    }

    /// Unmounts the snapshot `spec` and deactivates it. One that is not mounted is left as it is.
    ///
    /// # Errors
    /// [`LvmError::NotFound`] for what is no snapshot of thinmover's; otherwise what failed, such
    /// as a file in it that is still open.
    pub fn unmount_snapshot(&self, spec: &str) -> Result<(), LvmError> {
        let (mut held, body, volume) = self.hold_snapshot(spec)?;
        match body.mount {
            Some(_) => forget(self, &mut held),
            None if volume.mounts.is_empty() => Ok(()),
            None => Err(Refusal::InUse {
                volume: volume.alias(),
                why: "was mounted by someone else; use umount".into(),
            }
            .into()),
        }
    }

    fn mount_at(
        &self,
        volume: &Volume,
        path: &Path,
        filesystem: Filesystem,
    ) -> Result<Option<String>, LvmError> {
        fs::create_dir_all(path).map_err(|source| LvmError::io("create", path, source))?;
        let volume = if volume.active {
            volume.clone()
        } else {
            activation::activate_quietly(self, volume)?
        };
        // Held open so that the node keeps leading to the device that was checked.
        let _checked = device::open(&volume, device::Access::Read)?;
        mount::mount_read_only(&device::mapper_path(&volume), path, filesystem)
    }

    fn filesystem_of_origin(
        &self,
        volume: &Volume,
        body: &SnapshotBody,
    ) -> Result<Filesystem, LvmError> {
        let refuse =
            |why: String| LvmError::from(Refusal::Filesystem { volume: volume.alias(), why });
        let origin = self.reread(&volume.vg, &body.origin.uuid)?;
        match origin.as_ref().and_then(|origin| origin.mounts.first()) {
            None => Err(refuse(
                "its origin is not mounted, so its filesystem is not known; name it (xfs or ext4)"
                    .into(),
            )),
            Some(mount) => Filesystem::parse(&mount.filesystem).ok_or_else(|| {
                refuse(format!("{} cannot be mounted here, only xfs and ext4", mount.filesystem))
            }),
        }
    }
}

/// Undoes the mount that the record of a snapshot tells of, as far as it has come, and takes it off
/// the record.
pub(crate) fn forget(lvm: &Lvm, held: &mut HeldRecord) -> Result<(), LvmError> {
    let Body::Snapshot(body) = held.record().body.clone() else { return Ok(()) };
    let (Some(mount), Some(uuid)) = (&body.mount, &body.uuid) else { return Ok(()) };
    let undoing = MountBody { complete: false, ..mount.clone() };
    let with = |mount| Body::Snapshot(SnapshotBody { mount, ..body.clone() });
    held.update(with(Some(undoing)))?;
    if let Some(volume) = lvm.reread(&body.vg.name, uuid)? {
        let mounted = volume.mounts.iter().find(|found| found.path == mount.path);
        let unmounted = match mounted {
            Some(found) => mount::unmount(&mount.path, found.device),
            None => mount::remove_folder(&mount.path),
        };
        if let Err(LvmError::Refused(_)) = &unmounted {
            // Nothing has changed, so nothing is to be undone later, behind the operator's back.
            held.update(with(Some(mount.clone())))?;
        }
        unmounted?;
        if volume.active {
            activation::deactivate(lvm, &volume)?;
        }
    }
    quiet::end(held.record())?;
    Ok(held.update(with(None))?)
}
