//! mount(2) and umount(2) for snapshots: read-only, and as little of the kernel as possible.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde::{Deserialize, Serialize};
use thinmover_io::crash_point;

use crate::error::LvmError;

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
    outcome.map_err(|errno| LvmError::io("mount", source, errno.into()))
}

/// Unmounts what is on the folder `target` and removes the folder. Neither needs to exist.
pub(crate) fn unmount(target: &Path) -> Result<(), LvmError> {
    crash_point("mount:umount:before");
    match umount2(target, MntFlags::UMOUNT_NOFOLLOW) {
        // EINVAL: it is no mount point.
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
        Err(errno) => return Err(LvmError::io("unmount", target, errno.into())),
    }
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
