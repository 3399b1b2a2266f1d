//! `thinmover backup …`

mod create;
mod delete;
mod hold;
mod list;
mod prune;
mod show;
mod unhold;
mod verify;

use super::catalog::Catalog;
use super::invocation::{Invocation, RepositoryArgs};
use super::output::Done;
use super::place::place;
use crate::failure::Result;
use crate::views::Backups;

/// Which backups of which repository.
#[derive(Debug, clap::Args)]
struct Selection {
    #[command(flatten)]
    repository: RepositoryArgs,
    /// Only backups of this volume (VG/LV, path or LV UUID)
    #[arg(long, value_name = "NAME", value_parser = place)]
    source: Option<String>,
    /// Only backups of this host (name or id)
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
}

impl Selection {
    /// The repository's list, and these of it.
    fn read(&self, invocation: &Invocation) -> Result<(Catalog, Backups)> {
        let catalog = invocation.catalog(&self.repository)?;
        let backups = catalog.backups(self.host.as_deref(), self.source.as_deref())?;
        Ok((catalog, backups))
    }
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Backs up volumes: a snapshot of each is read into the repository and removed again
    Create(create::Args),
    /// Lists backups
    List(list::Args),
    /// Shows all about one backup
    Show(show::Args),
    /// Deletes a backup; `repo maintain` gives its space back
    Delete(delete::Args),
    /// Keeps a backup from being deleted until `unhold`
    Hold(hold::Args),
    /// Lets a backup that was held be deleted again
    Unhold(unhold::Args),
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
        Command::Hold(args) => hold::run(args, invocation),
        Command::Unhold(args) => unhold::run(args, invocation),
        Command::Prune(args) => prune::run(args, invocation),
        Command::Verify(args) => verify::run(args, invocation),
    }
}
