//! `thinmover job watch`

use crate::cli::follow::{follow, path};
use crate::cli::invocation::Invocation;
use crate::cli::output::Done;
use crate::cli::progress::Display;
use crate::cli::service::{get, understand};
use crate::engine::{DownloadReport, UploadReport};
use crate::failure::Result;
use crate::http::Client;
use crate::jobs::Kind;
use crate::stream::Progress;
use crate::views::Job;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Job id
    id: String,
}

/// Ends as the job does: with its report and its warnings, or with its failure.
pub(super) fn run(args: &Args, agent: &Client, invocation: &Invocation) -> Result<Done> {
    let job: Job = get(agent, &path(&args.id))?;
    let progress = Progress::default();
    let display = Display::start(invocation.progress, &progress);
    let report = follow(agent, &args.id, &progress);
    drop(display);
    let report = report?;
    Ok(match job.kind {
        Kind::Upload => {
            let report: UploadReport = understand(report)?;
            invocation.answer(&report, &report.warnings)
        }
        Kind::Download => {
            let report: DownloadReport = understand(report)?;
            invocation.answer(&report, &report.warnings)
        }
    })
}
