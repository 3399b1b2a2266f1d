//! `thinmover backup show`

use super::list::labels;
use crate::cli::invocation::{Invocation, RepositoryArgs};
use crate::cli::output::{Done, Report, size, time};
use crate::failure::Result;
use crate::views::{Backup, Hold};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Backup id, or enough of its beginning
    id: String,
    #[command(flatten)]
    repository: RepositoryArgs,
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let catalog = invocation.catalog(&args.repository)?;
    Ok(invocation.answer(&catalog.backup(&args.id)?, &[]))
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn held(hold: &Hold) -> String {
    match hold.held_at {
        Some(at) => format!("{} (by {} at {})", hold.reason, hold.client, time(at)),
        None => hold.reason.clone(),
    }
}

impl Report for Backup {
    fn human(&self) -> String {
        let lines = [
            ("backup", self.id.clone()),
            ("source", self.source.clone()),
            ("source UUID", self.source_uuid.clone().unwrap_or_else(|| "-".into())),
            ("host", format!("{} ({})", self.host, self.host_id)),
            ("created", time(self.created_at)),
            ("mode", self.mode.clone()),
            ("tier", format!("{} ({})", self.tier, self.reason)),
            ("size", size(self.total_bytes)),
            ("image block", size(self.block_bytes)),
            ("read", size(self.read_bytes)),
            ("new", size(self.new_bytes)),
            ("stored", size(self.stored_bytes)),
            ("labels", or_dash(labels(&self.labels))),
            ("kept for", self.ttl.clone().unwrap_or_else(|| "ever".into())),
            ("held", self.hold.as_ref().map_or_else(|| "-".into(), held)),
            ("previous", self.previous.clone().unwrap_or_else(|| "-".into())),
        ];
        lines.iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect()
    }
}
