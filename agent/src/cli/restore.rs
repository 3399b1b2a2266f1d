//! `thinmover restore`

use jiff::Timestamp;

use super::confirm::confirm;
use super::invocation::{Invocation, RepositoryArgs};
use super::output::{Done, Report, page_cache_note, size};
use super::place::place;
use super::work::Worker;
use crate::engine::{DownloadReport, RestoreMode};
use crate::failure::{Code, Result};
use crate::jobs::{Kind, spec};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Backup id, enough of its beginning, or `latest`
    id: String,
    /// Volume (VG/LV, LV name or LV UUID), block device or file; a path that does not exist becomes
    /// a new sparse file
    #[arg(value_parser = place)]
    target: String,
    #[command(flatten)]
    repository: RepositoryArgs,
    /// With `latest`: of this volume instead of the target's own
    #[arg(long, value_name = "NAME", value_parser = place)]
    source: Option<String>,
    /// With `latest`: made by this host (name or id) instead of this one
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// With `latest`: made at or before this time, e.g. 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    as_of: Option<Timestamp>,
    /// With `latest`: so many backups before it
    #[arg(long, value_name = "N", default_value_t = 0)]
    previous: usize,
    /// How to write: all of the backup over whatever is there, or only what the target does not hold
    /// already
    #[arg(long, value_enum, default_value_t)]
    mode: RestoreMode,
    /// Keep what the target holds in a snapshot that is made first
    #[arg(long)]
    undo: bool,
    /// Make TARGET (VG/LV) first, as a new thin volume in this pool
    #[arg(long, value_name = "POOL")]
    create: Option<String>,
    /// Overwrite what the target holds without asking
    #[arg(long)]
    yes: bool,
    /// Check everything, and compare with --mode delta; write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let worker = Worker::new(invocation, Kind::Download, &args.repository)?;
    let mut spec = spec::Download {
        snapshot_id: args.id.clone(),
        target: spec::Volume { volume: args.target.clone() },
        create_in_pool: args.create.clone(),
        restore_mode: Some(args.mode),
        undo: args.undo,
        source: args.source.clone(),
        host: args.host.clone(),
        as_of: args.as_of,
        previous: args.previous,
        overwrite: args.yes,
        dry_run: args.dry_run,
        ..spec::Download::default()
    };
    let report: DownloadReport = match worker.run(&spec) {
        Err(failure) if failure.code == Code::ConfirmationNeeded => {
            confirm(&failure.message, false)?;
            spec.overwrite = true;
            worker.run(&spec)
        }
        done => done,
    }?;
    Ok(invocation.answer(&report, &report.warnings))
}

impl Report for DownloadReport {
    fn human(&self) -> String {
        if self.dry_run {
            let differing = self.differing_bytes.map(|bytes| format!(", {} differ", size(bytes)));
            return format!(
                "Would restore backup {} of {} ({}) to {}, which {}{}\n",
                self.id,
                self.source,
                size(self.total_bytes),
                self.target,
                if self.blank { "holds only zeroes" } else { "holds data" },
                differing.unwrap_or_default(),
            );
        }
        let mut text = format!(
            "Restored backup {} of {} to {} in {:.1} s\n  wrote     {} of {}\n  discarded {}\n",
            self.id,
            self.source,
            self.target,
            self.seconds,
            size(self.written_bytes),
            size(self.total_bytes),
            size(self.discarded_bytes),
        );
        if let (Some(tier), Some(reason)) = (&self.tier, &self.reason) {
            let read = size(self.read_bytes);
            text += &format!("  compared  {read} of the target (tier {tier}: {reason})\n");
        }
        if let Some(snapshot) = &self.undo_snapshot {
            text += &format!(
                "  kept      what was there in {snapshot}: `lvconvert --merge {snapshot}` brings it \
                 back, `thinmover snapshot delete {snapshot}` gives it up\n"
            );
        }
        text + page_cache_note(self.page_cache)
    }
}
