//! `thinmover repo status`

use crate::cli::invocation::{Invocation, RepositoryArgs};
use crate::cli::output::{Done, Report, size};
use crate::failure::Result;
use crate::views::RepositoryStatus;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    repository: RepositoryArgs,
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let repository = invocation.repository(&args.repository)?;
    Ok(invocation.answer(&RepositoryStatus::new(&repository)?, &[]))
}

impl Report for RepositoryStatus {
    fn human(&self) -> String {
        let lines = [
            ("repository", self.url.clone()),
            ("id", self.id.clone()),
            ("format", format!("version {}", self.format_version)),
            ("hash", self.hash.clone()),
            ("encryption", self.encryption.clone()),
            ("compression", self.compression.clone()),
            (
                "conditions",
                if self.conditional_writes { "kept" } else { "not known to be kept" }.into(),
            ),
            ("backups", self.backups.to_string()),
            ("stored", size(self.stored_bytes)),
        ];
        lines.iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect()
    }
}
