//! `thinmover snapshot create`

use super::list::Snapshot;
use crate::cli::invocation::Invocation;
use crate::cli::output::{Done, Report, size};
use crate::failure::Result;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Thin volume (VG/LV, LV name or LV UUID)
    origin: String,
    /// The snapshot's name; one is made up if not given
    #[arg(long)]
    name: Option<String>,
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let engine = invocation.engine()?;
    let snapshot = engine.create_snapshot(&args.origin, args.name.as_deref())?;
    Ok(invocation.answer(&Snapshot::new(&snapshot), &[]))
}

impl Report for Snapshot {
    fn human(&self) -> String {
        format!("Snapshot {} of {} ({})\n", self.name, self.origin, size(self.size_bytes))
    }
}
