//! Following a job of the agent's to its end, also across a restart of the agent.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::service::{encode, get, understand};
use crate::failure::{Code, Failure, Result};
use crate::http::Client;
use crate::jobs::Phase;
use crate::stream::Progress;
use crate::views::{Job, JobEvent};

/// How long an agent may be away, restarting, before following it is given up.
const AWAY: Duration = Duration::from_secs(120);

/// Follows job `id`, showing it by `progress`, and returns its report.
///
/// # Errors
/// The failure the job ended with; `NoDaemon` when the agent goes away for good, whose hint says
/// how to find the job again.
pub(super) fn follow(agent: &Client, id: &str, progress: &Progress) -> Result<Value> {
    let mut away_since: Option<Instant> = None;
    loop {
        let failure = match watch(agent, id, progress) {
            Ok(Some(job)) => return report(job),
            Ok(None) => Failure::new(Code::NoDaemon, "the agent ended its feed of jobs"),
            Err(failure) if matches!(failure.code, Code::NoDaemon | Code::Gone) => failure,
            Err(failure) => return Err(failure),
        };
        // Ended by us or by a restart: the job itself says how it is, once somebody answers.
        if away_since.get_or_insert_with(Instant::now).elapsed() > AWAY {
            return Err(failure.hint(format!(
                "the job may go on: `thinmover job watch {id}` shows it once the agent is back"
            )));
        }
        sleep(Duration::from_millis(500));
        if get::<Job>(agent, &path(id)).is_ok() {
            away_since = None;
        }
    }
}

/// Shows the job until it has ended; nothing when the feed ends before.
fn watch(agent: &Client, id: &str, progress: &Progress) -> Result<Option<Job>> {
    let job: Job = get(agent, &path(id))?;
    let since = job.resource_version;
    if let Some(ended) = show(job, progress) {
        return Ok(Some(ended));
    }
    for line in agent.feed(&format!("/v1/jobs?watch=1&since={since}&id={}", encode(id)))? {
        let event: JobEvent = understand(line?)?;
        if let Some(ended) = show(event.job, progress) {
            return Ok(Some(ended));
        }
    }
    Ok(None)
}

/// Takes a job's state over into `progress`; the job again if it has ended.
fn show(job: Job, progress: &Progress) -> Option<Job> {
    progress.set_total_bytes(job.status.progress.total_bytes);
    progress.set_done_bytes(job.status.progress.bytes_done);
    progress.set_phase(job.status.message.clone());
    job.status.phase.is_final().then_some(job)
}

/// What a job that has ended reports.
///
/// # Errors
/// The failure it ended with.
pub(super) fn report(job: Job) -> Result<Value> {
    let status = job.status;
    match (status.phase, status.error, status.result) {
        (Phase::Completed, _, Some(report)) => Ok(report),
        (_, Some(failure), _) => Err(failure),
        (phase, ..) => Err(Failure::new(
            Code::Failed,
            format!("job {} ended {} and says no more", job.id, phase.as_str()),
        )),
    }
}

pub(super) fn path(id: &str) -> String {
    format!("/v1/jobs/{}", encode(id))
}
