//! What all jobs of this process share: the settings, this host, and its LVM.

use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use thinmover_lvm::{
    Filesystem, Inventory, LvName, Lvm, LvmOptions, MountedSnapshot, OwnedSnapshot, Place, Pool,
    Purpose, Volume, is_path,
};

use super::last_backup::LastBackup;
use crate::config::Settings;
use crate::failure::{Code, Failure, Result, chain};
use crate::host::Host;

/// Runs jobs.
pub(crate) struct Engine {
    pub(super) settings: Settings,
    pub(super) host: Host,
    pub(super) lvm: Lvm,
}

/// What a SOURCE or TARGET stands for.
pub(super) enum Found {
    Volume(Box<FoundVolume>),
    /// Another block device, a file, or a path where nothing is yet.
    Path(PathBuf),
}

/// A logical volume.
pub(super) struct FoundVolume {
    pub(super) volume: Volume,
    /// The thin pool it lives in.
    pub(super) pool: Option<Pool>,
    /// What recovery could not put back.
    pub(super) warnings: Vec<String>,
}

impl Engine {
    /// Reads who this host is; touches no volume.
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let lvm = Lvm::new(LvmOptions {
            runtime_dir: settings.runtime_dir.clone(),
            state_dir: settings.state_dir.clone(),
            command_timeout: settings.lvm_command_timeout,
        });
        Ok(Self { settings: settings.clone(), host: Host::load(&settings.state_dir)?, lvm })
    }

    /// The pools and volumes of this host.
    pub(crate) fn inventory(&self) -> Result<Inventory> {
        Ok(self.lvm.inventory()?)
    }

    /// The id of the last backup this host made of the volume with this identity.
    pub(crate) fn last_backup(&self, volume: &str) -> Option<String> {
        LastBackup::read(&self.settings.state_dir, volume).map(|last| last.backup)
    }

    /// Puts back what processes that died left behind; every job on LVM begins with it. Returns
    /// what could not be put back, as warnings.
    pub(super) fn recover(&self) -> Result<Vec<String>> {
        let recovery = self.lvm.recover()?;
        let left = recovery.left.iter().map(|left| format!("record {}: {}", left.record, left.why));
        let failed =
            recovery.failed.iter().map(|(what, error)| format!("{what} failed: {}", chain(error)));
        let unreadable = recovery.unreadable.iter().map(|problem| chain(problem));
        Ok(left.chain(failed).chain(unreadable).collect())
    }

    /// What a SOURCE or TARGET stands for. LVM is asked only where it can be meant: an image file
    /// needs no LVM on the host, and neither does a path where a new one is to be made. Where it
    /// is asked, recovery comes first.
    pub(super) fn find(&self, spec: &str) -> Result<Found> {
        let path = Path::new(spec);
        let is_device = path.starts_with("/dev")
            || fs::metadata(path).is_ok_and(|found| found.file_type().is_block_device());
        if is_path(spec) && !is_device {
            return Ok(Found::Path(path.to_owned()));
        }
        let warnings = self.recover()?;
        let inventory = self.lvm.inventory()?;
        Ok(match inventory.find_place(spec)? {
            Place::Path(path) => Found::Path(path),
            Place::Volume(volume) => {
                let pool = volume.pool_uuid.as_ref().and_then(|uuid| inventory.pool(uuid)).cloned();
                Found::Volume(Box::new(FoundVolume { volume: *volume, pool, warnings }))
            }
        })
    }

    /// Makes a snapshot that stays until it is deleted.
    pub(crate) fn create_snapshot(&self, spec: &str, name: Option<&str>) -> Result<OwnedSnapshot> {
        let name = name
            .map(LvName::new)
            .transpose()
            .map_err(|error| Failure::from_error(Code::Usage, &error))?;
        self.recover()?;
        let inventory = self.lvm.inventory()?;
        let origin = inventory.find_volume(spec)?;
        let snapshot = self.lvm.create_snapshot(
            origin,
            Purpose::Operator { name },
            &self.settings.pool_limits,
        )?;
        let uuid = snapshot.uuid().clone();
        drop(snapshot);
        self.snapshots()?.into_iter().find(|snapshot| snapshot.uuid == uuid).ok_or_else(|| {
            Failure::new(Code::Failed, format!("the new snapshot of {spec} is gone already"))
        })
    }

    /// The snapshots that thinmover made and that exist.
    pub(crate) fn snapshots(&self) -> Result<Vec<OwnedSnapshot>> {
        Ok(self.lvm.snapshots()?)
    }

    pub(crate) fn delete_snapshot(&self, spec: &str) -> Result<()> {
        self.recover()?;
        Ok(self.lvm.delete_snapshot(spec)?)
    }

    pub(crate) fn mount_snapshot(
        &self,
        spec: &str,
        filesystem: Option<Filesystem>,
    ) -> Result<MountedSnapshot> {
        self.recover()?;
        Ok(self.lvm.mount_snapshot(spec, filesystem)?)
    }

    pub(crate) fn unmount_snapshot(&self, spec: &str) -> Result<()> {
        self.recover()?;
        Ok(self.lvm.unmount_snapshot(spec)?)
    }
}

/// Keeps other jobs away from an open file or device that is no LV, while the result lives. On a
/// block device it also keeps udev from probing it meanwhile (systemd, "Locking Block Device Access").
pub(super) fn lock_file(file: File, path: &Path) -> Result<Flock<File>> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => {
            Failure::new(Code::Busy, format!("{} is in use by another job", path.display()))
                .hint("wait for it to end, then try again")
        }
        errno => Failure::new(Code::Failed, format!("cannot lock {}: {errno}", path.display())),
    })
}
