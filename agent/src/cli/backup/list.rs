//! `thinmover backup list`

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use thinmover_repository::{Filter, Manifest};

use crate::cli::invocation::{Invocation, RepositoryArgs};
use crate::cli::output::{Done, Report, size, table, time};
use crate::failure::{Result, chain};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    repository: RepositoryArgs,
    /// Only backups of this volume (VG/LV, path or LV UUID)
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only backups of this host (name or id)
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
}

#[derive(Serialize)]
struct Backups {
    backups: Vec<Backup>,
    damaged: Vec<Damaged>,
}

/// A backup that is there and cannot be read.
#[derive(Serialize)]
struct Damaged {
    id: String,
    message: String,
}

/// What lists and details show of a backup.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Backup {
    pub(super) id: String,
    pub(super) source: String,
    pub(super) source_uuid: Option<String>,
    pub(super) host: String,
    pub(super) host_id: String,
    pub(super) created_at: Timestamp,
    pub(super) mode: String,
    pub(super) tier: String,
    pub(super) reason: String,
    pub(super) total_bytes: u64,
    pub(super) block_bytes: u64,
    pub(super) read_bytes: u64,
    pub(super) new_bytes: u64,
    pub(super) stored_bytes: u64,
    pub(super) labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ttl: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<String>,
}

impl Backup {
    pub(super) fn new(manifest: &Manifest) -> Self {
        let source = &manifest.source;
        Self {
            id: manifest.id.clone(),
            source: source.name.clone(),
            source_uuid: source.uuid.clone(),
            host: if source.hostname.is_empty() { &source.host } else { &source.hostname }.clone(),
            host_id: source.host.clone(),
            created_at: manifest.created_at,
            mode: manifest.mode.clone(),
            tier: manifest.tier.clone(),
            reason: manifest.reason.clone(),
            total_bytes: manifest.total_bytes,
            block_bytes: manifest.block_bytes.into(),
            read_bytes: manifest.read_bytes,
            new_bytes: manifest.new_bytes,
            stored_bytes: manifest.stored_bytes,
            labels: manifest.labels.clone(),
            ttl: manifest.ttl.clone(),
            previous: manifest.previous.clone(),
        }
    }
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let repository = invocation.repository(&args.repository)?;
    let listed = repository.backups(&Filter {
        host: args.host.clone(),
        source: args.source.clone(),
        ..Filter::default()
    })?;
    let backups = listed.live.iter().map(Backup::new).collect();
    let damaged: Vec<_> = listed
        .damaged
        .iter()
        .map(|backup| Damaged { id: backup.id(), message: chain(&backup.error) })
        .collect();
    let warnings: Vec<_> = damaged
        .iter()
        .map(|backup| format!("backup {} cannot be listed: {}", backup.id, backup.message))
        .collect();
    Ok(invocation.answer(&Backups { backups, damaged }, &warnings))
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
                ]
            })
            .collect();
        table(
            ["BACKUP", "CREATED", "HOST", "SOURCE", "SIZE", "STORED", "TIER", "LABELS"],
            &[4, 5],
            &rows,
        )
    }
}

pub(super) fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}
