//! `thinmover snapshot …`

mod create;
mod delete;
mod list;
mod mount;

use super::invocation::Invocation;
use super::output::Done;
use crate::failure::Result;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Makes a read-only thin snapshot that stays until it is deleted
    Create(create::Args),
    /// Lists thinmover's snapshots
    List(list::Args),
    /// Deletes one of thinmover's snapshots
    Delete(delete::Args),
    /// Mounts a snapshot read-only under /run/thinmover/mnt
    Mount(mount::MountArgs),
    /// Unmounts a snapshot
    Unmount(mount::UnmountArgs),
}

pub(super) fn run(command: &Command, invocation: &Invocation) -> Result<Done> {
    match command {
        Command::Create(args) => create::run(args, invocation),
        Command::List(args) => list::run(args, invocation),
        Command::Delete(args) => delete::run(args, invocation),
        Command::Mount(args) => mount::mount(args, invocation),
        Command::Unmount(args) => mount::unmount(args, invocation),
    }
}
