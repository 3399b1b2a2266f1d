//! `thinmover job list`

use crate::cli::invocation::Invocation;
use crate::cli::output::{Done, Report, size, table, time};
use crate::cli::service::get;
use crate::failure::Result;
use crate::http::Client;
use crate::jobs::Progress;
use crate::views::{Job, Jobs};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {}

pub(super) fn run(agent: &Client, invocation: &Invocation) -> Result<Done> {
    Ok(invocation.answer(&get::<Jobs>(agent, "/v1/jobs")?, &[]))
}

impl Report for Jobs {
    fn human(&self) -> String {
        if self.jobs.is_empty() {
            return "No jobs.\n".into();
        }
        let rows: Vec<_> = self
            .jobs
            .iter()
            .map(|job| {
                [
                    job.id.clone(),
                    job.kind.as_str().to_owned(),
                    job.status.phase.as_str().to_owned(),
                    progress(job),
                    job.volume.clone(),
                    time(job.status.created_timestamp),
                ]
            })
            .collect();
        table(["JOB", "KIND", "PHASE", "DONE", "VOLUME", "CREATED"], &[3], &rows)
    }
}

/// How far a job is, for people.
pub(super) fn progress(job: &Job) -> String {
    let Progress { bytes_done, total_bytes } = job.status.progress;
    match total_bytes {
        0 => "-".to_owned(),
        _ => format!("{} of {}", size(bytes_done), size(total_bytes)),
    }
}
