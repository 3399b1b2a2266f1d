//! `thinmover snapshot delete`

use serde::Serialize;

use crate::cli::invocation::Invocation;
use crate::cli::output::{Done, Report};
use crate::failure::Result;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Snapshot made by thinmover (VG/LV, LV name or LV UUID)
    snapshot: String,
}

#[derive(Serialize)]
struct Deleted {
    name: String,
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let ((), warnings) = invocation.service()?.delete_snapshot(&args.snapshot)?;
    Ok(invocation.answer(&Deleted { name: args.snapshot.clone() }, &warnings))
}

impl Report for Deleted {
    fn human(&self) -> String {
        format!("Deleted snapshot {}\n", self.name)
    }
}
