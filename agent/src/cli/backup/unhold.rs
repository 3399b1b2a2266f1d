//! `thinmover backup unhold`

use serde::Serialize;

use crate::cli::invocation::{Invocation, RepositoryArgs};
use crate::cli::output::{Done, Report};
use crate::failure::Result;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Backup id, or enough of its beginning
    id: String,
    #[command(flatten)]
    repository: RepositoryArgs,
}

#[derive(Serialize)]
struct Unheld {
    id: String,
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let catalog = invocation.catalog(&args.repository)?;
    let id = catalog.find(&args.id)?.id().to_owned();
    catalog.unhold(&id)?;
    Ok(invocation.answer(&Unheld { id }, &[]))
}

impl Report for Unheld {
    fn human(&self) -> String {
        format!("Backup {} is no longer held\n", self.id)
    }
}
