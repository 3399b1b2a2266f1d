//! `thinmover snapshot list`

use crate::cli::invocation::Invocation;
use crate::cli::output::{Done, Report, size, table, time};
use crate::failure::Result;
use crate::views::Snapshots;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {}

pub(super) fn run(_: &Args, invocation: &Invocation) -> Result<Done> {
    Ok(invocation.answer(&invocation.service()?.snapshots()?, &[]))
}

impl Report for Snapshots {
    fn human(&self) -> String {
        if self.snapshots.is_empty() {
            return "No snapshots of thinmover's.\n".into();
        }
        let rows: Vec<_> = self
            .snapshots
            .iter()
            .map(|snapshot| {
                [
                    snapshot.name.clone(),
                    snapshot.origin.clone(),
                    size(snapshot.size_bytes),
                    time(snapshot.created_at),
                    snapshot.mounted_at.clone().unwrap_or_else(|| "-".into()),
                    snapshot.owner.clone(),
                ]
            })
            .collect();
        table(["SNAPSHOT", "ORIGIN", "SIZE", "CREATED", "MOUNTED ON", "OWNER"], &[2], &rows)
    }
}
