//! What all jobs of this process share: the settings, this host, and its LVM.

use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use thinmover_io::IoEngine;
use thinmover_lvm::{Inventory, Lvm, LvmOptions, Place, Pool, RecordProblem, Volume, is_path};

use super::context::Scope;
use super::last_backup::LastBackup;
use crate::config::Settings;
use crate::durable;
use crate::failure::{Code, Failure, Result, chain};
use crate::host::Host;

/// Runs jobs.
pub(crate) struct Engine {
    pub(super) settings: Settings,
    pub(super) host: Host,
    pub(super) lvm: Lvm,
    pub(super) io: IoEngine,
}

/// What a recovery came to, a sentence each.
pub(crate) struct Recovered {
    pub(crate) done: Vec<String>,
    pub(crate) left: Vec<String>,
    /// Whether a newer version of thinmover left records here.
    pub(crate) newer: bool,
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
        let io = io_engine(settings)?;
        let lvm = Lvm::new(LvmOptions {
            runtime_dir: settings.runtime_dir.clone(),
            state_dir: settings.state_dir.clone(),
            command_timeout: settings.lvm_command_timeout,
            io: io.clone(),
        });
        Ok(Self { settings: settings.clone(), host: Host::load(&settings.state_dir)?, lvm, io })
    }

    /// The pools and volumes of this host.
    pub(crate) fn inventory(&self) -> Result<Inventory> {
        Ok(self.lvm.inventory()?)
    }

    /// The id of the last backup this host made of the volume with this identity.
    pub(crate) fn last_backup(&self, volume: &str) -> Option<String> {
        LastBackup::read(&self.settings.state_dir, volume).map(|last| last.backup)
    }

    /// The settings it works by.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What reads and writes volumes and packs.
    pub(crate) fn io(&self) -> &IoEngine {
        &self.io
    }

    /// This host.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// Puts back what processes that died left behind.
    pub(crate) fn recovery(&self) -> Result<Recovered> {
        let state_dir = &self.settings.state_dir;
        let unswept = durable::sweep(state_dir)
            .err()
            .map(|error| format!("{} cannot be swept: {error}", state_dir.display()));
        let recovery = self.lvm.recover()?;
        let left = recovery.left.iter().map(|left| format!("record {}: {}", left.record, left.why));
        let failed =
            recovery.failed.iter().map(|(what, error)| format!("{what} failed: {}", chain(error)));
        let unreadable = recovery.unreadable.iter().map(|problem| chain(problem));
        Ok(Recovered {
            left: left.chain(failed).chain(unreadable).chain(unswept).collect(),
            newer: recovery.unreadable.iter().any(RecordProblem::is_newer),
            done: recovery.done,
        })
    }

    /// As [`recovery`](Self::recovery); every job on LVM begins with it. Returns what could not be
    /// put back, as warnings.
    pub(super) fn recover(&self) -> Result<Vec<String>> {
        Ok(self.recovery()?.left)
    }

    /// What a SOURCE or TARGET stands for. LVM is asked only where it can be meant: an image file
    /// needs no LVM on the host, and neither does a path where a new one is to be made. Where it
    /// is asked, recovery comes first.
    ///
    /// # Errors
    /// `NotFound`, `Ambiguous`, and `NotAllowed` for what is not in `scope`.
    pub(super) fn find(&self, spec: &str, scope: &Scope) -> Result<Found> {
        let path = Path::new(spec);
        let is_device = path.starts_with("/dev")
            || fs::metadata(path).is_ok_and(|found| found.file_type().is_block_device());
        if is_path(spec) && !is_device {
            scope.check_path(spec)?;
            return Ok(Found::Path(path.to_owned()));
        }
        let warnings = self.recover()?;
        let inventory = self.lvm.inventory()?;
        Ok(match inventory.find_place(spec)? {
            Place::Path(path) => {
                scope.check_path(spec)?;
                Found::Path(path)
            }
            Place::Volume(volume) => {
                scope.check_group(volume.vg.as_str())?;
                let pool = volume.pool_uuid.as_ref().and_then(|uuid| inventory.pool(uuid)).cloned();
                Found::Volume(Box::new(FoundVolume { volume: *volume, pool, warnings }))
            }
        })
    }
}

/// The I/O engine that is configured.
///
/// # Errors
/// `Usage` where only io_uring is allowed and the kernel refuses it.
pub(crate) fn io_engine(settings: &Settings) -> Result<IoEngine> {
    IoEngine::new(settings.io_engine).map_err(|error| {
        Failure::new(Code::Usage, format!("`data_path.engine` is \"io_uring\", but {error}"))
            .hint("with \"auto\" the blocking engine takes its place")
    })
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
