//! `thinmover backup delete`

use jiff::Timestamp;
use serde::Serialize;

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
    source: String,
    created_at: Timestamp,
    dry_run: bool,
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let catalog = invocation.catalog(&args.repository)?;
    let backup = catalog.backup(&args.id)?;
    let deleted = Deleted {
        id: backup.id,
        source: backup.source,
        created_at: backup.created_at,
        dry_run: args.dry_run,
    };
    if !args.dry_run {
        let what = format!(
            "this deletes backup {} of {} made at {}",
            deleted.id,
            deleted.source,
            time(deleted.created_at)
        );
        confirm(&what, args.yes)?;
        catalog.delete(&deleted.id)?;
    }
    Ok(invocation.answer(&deleted, &[]))
}

impl Report for Deleted {
    fn human(&self) -> String {
        let would = if self.dry_run { "Would delete" } else { "Deleted" };
        format!("{would} backup {} of {} made at {}\n", self.id, self.source, time(self.created_at))
    }
}
