//! `thinmover backup hold`

use serde::Serialize;

use crate::cli::invocation::{Invocation, RepositoryArgs};
use crate::cli::output::{Done, Report};
use crate::failure::Result;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Backup id, or enough of its beginning
    id: String,
    /// Why it must stay, in one line
    reason: String,
    #[command(flatten)]
    repository: RepositoryArgs,
}

#[derive(Serialize)]
struct Held {
    id: String,
    reason: String,
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let catalog = invocation.catalog(&args.repository)?;
    let id = catalog.find(&args.id)?.id().to_owned();
    catalog.hold(&id, &args.reason)?;
    Ok(invocation.answer(&Held { id, reason: args.reason.clone() }, &[]))
}

impl Report for Held {
    fn human(&self) -> String {
        format!("Backup {} is held: {}\n", self.id, self.reason)
    }
}
