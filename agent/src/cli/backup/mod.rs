//! `thinmover backup …`

mod create;
mod delete;
mod list;
mod prune;
mod show;
mod verify;

use super::invocation::Invocation;
use super::output::Done;
use crate::failure::Result;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Backs up volumes: a snapshot of each is read into the repository and removed again
    Create(create::Args),
    /// Lists backups
    List(list::Args),
    /// Shows all about one backup
    Show(show::Args),
    /// Deletes a backup; its space is given back by maintenance
    Delete(delete::Args),
    /// Deletes the backups that no rule keeps, and those whose ttl is over
    Prune(prune::Args),
    /// Reads all of a backup and checks every byte
    Verify(verify::Args),
}

pub(super) fn run(command: &Command, invocation: &Invocation) -> Result<Done> {
    match command {
        Command::Create(args) => create::run(args, invocation),
        Command::List(args) => list::run(args, invocation),
        Command::Show(args) => show::run(args, invocation),
        Command::Delete(args) => delete::run(args, invocation),
        Command::Prune(args) => prune::run(args, invocation),
        Command::Verify(args) => verify::run(args, invocation),
    }
}
