//! `thinmover snapshot mount` and `unmount`
//!
//! These act in the mount namespace of whoever calls, so they are done in this process, as root; a
//! mount that the agent made in its own namespace would be seen by nobody else.

use clap::ValueEnum;
use serde::Serialize;
use thinmover_lvm::Filesystem;

use crate::cli::invocation::Invocation;
use crate::cli::output::{Done, Report};
use crate::failure::Result;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct MountArgs {
    /// Snapshot made by thinmover (VG/LV, LV name or LV UUID)
    snapshot: String,
    /// Its filesystem; not needed while the origin is mounted. It is never probed: what is on the
    /// volume must not choose which of the kernel's drivers reads it
    #[arg(long, value_enum, value_name = "TYPE")]
    fs_type: Option<FilesystemArg>,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct UnmountArgs {
    /// Mounted snapshot
    snapshot: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FilesystemArg {
    Xfs,
    Ext4,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Mounted {
    name: String,
    /// Nothing once it is unmounted.
    mounted_at: Option<String>,
}

pub(super) fn mount(args: &MountArgs, invocation: &Invocation) -> Result<Done> {
    let filesystem = args.fs_type.map(|fs_type| match fs_type {
        FilesystemArg::Xfs => Filesystem::Xfs,
        FilesystemArg::Ext4 => Filesystem::Ext4,
    });
    let (mounted, mut warnings) =
        invocation.engine()?.mount_snapshot(&args.snapshot, filesystem)?;
    warnings.extend(mounted.warnings);
    let mounted_at = Some(mounted.path.display().to_string());
    let answer = Mounted { name: args.snapshot.clone(), mounted_at };
    Ok(invocation.answer(&answer, &warnings))
}

pub(super) fn unmount(args: &UnmountArgs, invocation: &Invocation) -> Result<Done> {
    let ((), warnings) = invocation.engine()?.unmount_snapshot(&args.snapshot)?;
    let unmounted = Mounted { name: args.snapshot.clone(), mounted_at: None };
    Ok(invocation.answer(&unmounted, &warnings))
}

impl Report for Mounted {
    fn human(&self) -> String {
        match &self.mounted_at {
            Some(path) => format!("Mounted {} read-only on {path}\n", self.name),
            None => format!("Unmounted {}\n", self.name),
        }
    }
}
