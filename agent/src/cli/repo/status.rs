//! `thinmover repo status`

use serde::Serialize;
use thinmover_repository::Repository;
use uuid::Uuid;

use crate::cli::invocation::{Invocation, RepositoryArgs};
use crate::cli::output::{Done, Report, size};
use crate::failure::Result;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    repository: RepositoryArgs,
}

/// What a repository is and holds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RepositoryStatus {
    url: String,
    id: String,
    format_version: u32,
    hash: String,
    encryption: String,
    splitter: String,
    compression: String,
    conditional_writes: bool,
    backups: u64,
    stored_bytes: u64,
}

impl RepositoryStatus {
    pub(super) fn new(repository: &Repository) -> Result<Self> {
        let descriptor = repository.descriptor();
        let status = repository.status()?;
        Ok(Self {
            url: repository.url(),
            id: Uuid::from_bytes(descriptor.id).simple().to_string(),
            format_version: descriptor.format_version,
            hash: descriptor.hash.to_string(),
            encryption: descriptor.encryption.to_string(),
            splitter: "fixed".into(),
            compression: descriptor.compression.to_string(),
            conditional_writes: status.conditional_writes,
            backups: status.backups,
            stored_bytes: status.stored_bytes,
        })
    }
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
            ("backups", self.backups.to_string()),
            ("stored", size(self.stored_bytes)),
        ];
        lines.iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect()
    }
}
