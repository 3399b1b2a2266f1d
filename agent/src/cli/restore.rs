//! `thinmover restore`

use clap::ValueEnum;
use jiff::Timestamp;

use super::confirm::confirm;
use super::invocation::{Invocation, RepositoryArgs};
use super::output::{Done, Report, page_cache_note, size};
use super::place::place;
use super::work::Worker;
use crate::engine::DownloadReport;
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
    /// How to write: the whole backup, over whatever is there, is all there is so far
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// Make TARGET (VG/LV) first, as a new thin volume in this pool
    #[arg(long, value_name = "POOL")]
    create: Option<String>,
    /// Overwrite what the target holds without asking
    #[arg(long)]
    yes: bool,
    /// Check everything, write nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Mode {
    #[default]
    Full,
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let worker = Worker::new(invocation, Kind::Download, &args.repository)?;
    let Mode::Full = args.mode;
    let mut spec = spec::Download {
        snapshot_id: args.id.clone(),
        target: spec::Volume { volume: args.target.clone() },
        create_in_pool: args.create.clone(),
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
            return format!(
                "Would restore backup {} of {} ({}) to {}, which {}\n",
                self.id,
                self.source,
                size(self.total_bytes),
                self.target,
                if self.blank { "holds only zeroes" } else { "holds data" },
            );
        }
        format!(
            "Restored backup {} of {} to {} in {:.1} s\n  wrote     {} of {}\n  discarded {}\n{}",
            self.id,
            self.source,
            self.target,
            self.seconds,
            size(self.written_bytes),
            size(self.total_bytes),
            size(self.discarded_bytes),
            page_cache_note(self.page_cache),
        )
    }
}
