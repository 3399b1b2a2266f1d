//! `thinmover backup delete`

use jiff::Timestamp;
use serde::Serialize;
use thinmover_repository::Error as RepositoryError;

use crate::cli::catalog::Named;
use crate::cli::confirm::confirm;
use crate::cli::invocation::{Invocation, RepositoryArgs};
use crate::cli::output::{Done, Report, time};
use crate::failure::Result;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Backup id, or enough of its beginning
    id: String,
    #[command(flatten)]
    repository: RepositoryArgs,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Deleted {
    id: String,
    source: Option<String>,
    created_at: Option<Timestamp>,
    /// What is wrong with one that cannot be read.
    damage: Option<String>,
    dry_run: bool,
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let catalog = invocation.catalog(&args.repository)?;
    let dry_run = args.dry_run;
    let named = catalog.find(&args.id)?;
    if let Some(hold) = named.hold() {
        let (id, reason) = (named.id().to_owned(), hold.reason.clone());
        return Err(RepositoryError::BackupHeld { id, reason }.into());
    }
    let deleted = match named {
        Named::Whole(backup) => Deleted {
            id: backup.id,
            source: Some(backup.source),
            created_at: Some(backup.created_at),
            damage: None,
            dry_run,
        },
        Named::Damaged(backup) => Deleted {
            id: backup.id,
            source: None,
            created_at: None,
            damage: Some(backup.message),
            dry_run,
        },
    };
    if !dry_run {
        confirm(&format!("this deletes {}", deleted.described()), args.yes)?;
        catalog.delete(&deleted.id)?;
    }
    Ok(invocation.answer(&deleted, &[]))
}

impl Deleted {
    fn described(&self) -> String {
        match (&self.source, self.created_at, &self.damage) {
            (Some(source), Some(created_at), _) => {
                format!("backup {} of {source} made at {}", self.id, time(created_at))
            }
            (_, _, damage) => format!(
                "backup {}, which cannot be read: {}",
                self.id,
                damage.as_deref().unwrap_or_default()
            ),
        }
    }
}

impl Report for Deleted {
    fn human(&self) -> String {
        let would = if self.dry_run { "Would delete" } else { "Deleted" };
        format!("{would} {}\n", self.described())
    }
}
