//! `thinmover snapshot create`

use crate::cli::invocation::Invocation;
use crate::cli::output::{Done, Report, size};
use crate::cli::place::place;
use crate::failure::Result;
use crate::views::Snapshot;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Thin volume (VG/LV, LV name or LV UUID)
    #[arg(value_parser = place)]
    origin: String,
    /// The snapshot's name; one is made up if not given
    #[arg(long)]
    name: Option<String>,
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let service = invocation.service()?;
    let (snapshot, warnings) = service.create_snapshot(&args.origin, args.name.as_deref())?;
    Ok(invocation.answer(&snapshot, &warnings))
}

impl Report for Snapshot {
    fn human(&self) -> String {
        format!("Snapshot {} of {} ({})\n", self.name, self.origin, size(self.size_bytes))
    }
}
