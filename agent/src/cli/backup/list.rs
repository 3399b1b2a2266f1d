//! `thinmover backup list`

use std::collections::BTreeMap;

use super::Selection;
use crate::cli::invocation::Invocation;
use crate::cli::output::{Done, Report, size, table, time};
use crate::failure::Result;
use crate::views::Backups;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    selection: Selection,
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let (_, backups) = args.selection.read(invocation)?;
    let warnings: Vec<_> = backups
        .damaged
        .iter()
        .map(|backup| format!("backup {} cannot be listed: {}", backup.id, backup.message))
        .collect();
    Ok(invocation.answer(&backups, &warnings))
}

impl Report for Backups {
    fn human(&self) -> String {
        if self.backups.is_empty() {
            return "No backups.\n".into();
        }
        let rows: Vec<_> = self
            .backups
            .iter()
            .map(|backup| {
                [
                    backup.id.clone(),
                    time(backup.created_at),
                    backup.host.clone(),
                    backup.source.clone(),
                    size(backup.total_bytes),
                    size(backup.stored_bytes),
                    backup.tier.clone(),
                    labels(&backup.labels),
                    backup.hold.as_ref().map_or_else(String::new, |hold| hold.reason.clone()),
                ]
            })
            .collect();
        let is_any_held = self.backups.iter().any(|backup| backup.hold.is_some());
        let held = if is_any_held { "HELD" } else { "" };
        table(
            ["BACKUP", "CREATED", "HOST", "SOURCE", "SIZE", "STORED", "TIER", "LABELS", held],
            &[4, 5],
            &rows,
        )
    }
}

pub(super) fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}
