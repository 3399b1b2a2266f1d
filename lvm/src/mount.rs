//! mount(2) and umount(2) for snapshots: read-only, and as little of the kernel as possible.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde::{Deserialize, Serialize};
use thinmover_io::crash_point;

use crate::error::LvmError;
use crate::guard::Refusal;
use crate::mounts::{self, DeviceNumber};

/// MS_NOSYMFOLLOW of linux/mount.h, since Linux 5.10; no symbolic link in it is followed.
const NOSYMFOLLOW: MsFlags = MsFlags::from_bits_retain(256);

/// The filesystems that snapshots are mounted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filesystem {
    /// XFS.
    Xfs,
    /// ext4, and what its driver also mounts.
    Ext4,
}

impl Filesystem {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Xfs, Self::Ext4];

    /// The kernel's name for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Xfs => "xfs",
            Self::Ext4 => "ext4",
        }
    }

    /// Reads the kernel's name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|filesystem| filesystem.as_str() == name)
    }

    /// What is being done, for an error.
    fn mounting(self) -> &'static str {
        match self {
            Self::Xfs => "mount as xfs",
            Self::Ext4 => "mount as ext4",
        }
    }

    /// Options that keep it from writing its log: the snapshot is read-only, and its filesystem's
    /// UUID is mounted already.
    fn options(self) -> &'static str {
        match self {
            Self::Xfs => "nouuid,norecovery",
            Self::Ext4 => "noload",
        }
    }
}

/// Mounts the device `source` on the folder `target`; the answer is a warning, if there is one.
pub(crate) fn mount_read_only(
    source: &Path,
    target: &Path,
    filesystem: Filesystem,
) -> Result<Option<String>, LvmError> {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let call = |flags| {
        let (kind, options) = (Some(filesystem.as_str()), Some(filesystem.options()));
        mount(Some(source), target, kind, flags, options)
    };
    crash_point("mount:mount:before");
    let outcome = match call(flags | NOSYMFOLLOW) {
        // An older kernel ignores flags it does not know or refuses them; it cannot be told from
        // other wrong arguments, so the mount is tried without.
        Err(Errno::EINVAL) => call(flags).map(|()| {
            Some("this kernel does not know nosymfollow: symbolic links are followed".to_owned())
        }),
        other => other.map(|()| None),
    };
    crash_point("mount:mount:after");
    outcome.map_err(|errno| LvmError::io(filesystem.mounting(), source, errno.into()))
}

/// Unmounts the filesystem of `device` from the folder `target` and removes the folder. Neither
/// needs to exist.
///
/// umount(2) takes what lies on top: where that is not `device`, nothing is unmounted.
pub(crate) fn unmount(target: &Path, device: DeviceNumber) -> Result<(), LvmError> {
    let mounts =
        mounts::read().map_err(|source| LvmError::io("read", "/proc/self/mountinfo", source))?;
    match mounts.iter().rfind(|mount| mount.path == target) {
        None => return remove_folder(target),
        Some(top) if top.device == device => {}
        Some(top) => {
            let why = format!("has {} mounted over it", top.source.display());
            return Err(Refusal::InUse { volume: target.display().to_string(), why }.into());
        }
    }
    crash_point("mount:umount:before");
    umount2(target, MntFlags::UMOUNT_NOFOLLOW).map_err(|errno| match errno {
        Errno::EBUSY => Refusal::InUse {
            volume: target.display().to_string(),
            why: "has files open or is some process's working directory".into(),
        }
        .into(),
        errno => LvmError::io("unmount", target, errno.into()),
    })?;
    crash_point("mount:umount:after");
    remove_folder(target)
}

/// Removes the empty folder `target`, which need not exist.
pub(crate) fn remove_folder(target: &Path) -> Result<(), LvmError> {
    match fs::remove_dir(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LvmError::io("remove", target, error))
        }
        _ => Ok(()),
    }
}
