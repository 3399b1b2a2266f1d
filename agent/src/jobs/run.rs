//! One job from its turn to its end.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;
use serde_json::Value;

use super::job::{Job, Kind, Phase};
use super::spec::Work;
use super::table::{Table, Turn};
use crate::engine::{Context, DownloadReport, Engine, Milestone, UploadReport};
use crate::failure::{Code, Failure, Result};
use crate::journal::{self, Event, Fields};
use crate::repositories;

/// What a job that completed reports.
enum Report {
    Upload(Box<UploadReport>),
    Download(Box<DownloadReport>),
}

/// Runs a job and puts its end on record.
pub(super) fn run(turn: Turn, engine: &Engine, table: &Table) {
    let (id, kind, subject) = (turn.id.clone(), turn.kind, turn.subject.clone());
    let fields = Fields {
        job: Some(&id),
        kind: Some(kind.as_str()),
        volume: Some(&subject),
        ..Fields::default()
    };
    journal::write(
        Event::JobStarted,
        &fields,
        format!("{} {id} of {subject} begins", kind.as_str()),
    );
    let outcome =
        catch_unwind(AssertUnwindSafe(|| execute(turn, engine, table))).unwrap_or_else(|_| {
            Err(Failure::new(Code::Failed, "the job ended by an error in thinmover itself")
                .hint("the journal has the details; please report it"))
        });
    tell(&outcome, &fields);
    let concluded = table.conclude(&id, |job| conclude(job, outcome));
    if let Err(failure) = concluded {
        journal::warn(format!("the end of job {id} could not be put on record: {failure}"));
    }
}

fn execute(turn: Turn, engine: &Engine, table: &Table) -> Result<Report> {
    let reached = |milestone| reached(table, &turn.id, milestone);
    let context = Context {
        id: turn.id.clone(),
        scope: turn.scope,
        progress: turn.progress,
        cancel: turn.cancel,
        reached: &reached,
    };
    context.progress.set_phase("opening the repository");
    let repository = turn.plan.repository.as_deref();
    let repository =
        repositories::open(engine.settings(), engine.io(), repository, turn.passphrase)?;
    context.cancel.check()?;
    Ok(match &turn.plan.work {
        Work::Upload(spec) => {
            Report::Upload(Box::new(engine.upload(&repository, spec, &context)?))
        }
        Work::Download(spec) => {
            Report::Download(Box::new(engine.download(&repository, spec, &context)?))
        }
    })
}

/// Puts a milestone on record before the job goes past it.
fn reached(table: &Table, id: &str, milestone: Milestone) -> Result<()> {
    let phase = match milestone {
        Milestone::Prepared => Phase::Prepared,
        Milestone::InProgress => Phase::InProgress,
    };
    table
        .update(id, |job| {
            if job.status.phase != Phase::Canceling {
                job.status.phase = phase;
            }
        })
        .map(drop)
        .map_err(|failure| failure.context("the job cannot be kept on record"))
}

fn conclude(job: &mut Job, outcome: Result<Report>) {
    let status = &mut job.status;
    let report = match outcome {
        Ok(report) => report,
        Err(failure) => {
            let canceled = failure.code == Code::Canceled;
            status.fail(if canceled { Phase::Canceled } else { Phase::Failed }, failure);
            return;
        }
    };
    status.phase = Phase::Completed;
    status.completion_timestamp = Some(Timestamp::now());
    let warnings = report.warnings();
    status.message = match warnings.len() {
        0 => "completed".into(),
        _ => format!("completed with warnings: {}", warnings.join("; ")),
    };
    status.result = match &report {
        Report::Upload(upload) => {
            status.tier = Some(upload.tier.clone());
            status.reason = Some(upload.reason.clone());
            status.snapshot_id = Some(upload.id.clone());
            status.incremental_bytes = Some(upload.new_bytes);
            to_value(upload)
        }
        Report::Download(download) => {
            status.tier = download.tier.clone();
            status.reason = download.reason.clone();
            status.snapshot_id = Some(download.id.clone());
            to_value(download)
        }
    };
}

fn to_value(report: &impl serde::Serialize) -> Option<Value> {
    serde_json::to_value(report).ok()
}

fn tell(outcome: &Result<Report>, fields: &Fields<'_>) {
    let (job, kind) = (fields.job.unwrap_or_default(), fields.kind.unwrap_or_default());
    let volume = fields.volume.unwrap_or_default();
    match outcome {
        Ok(report) => {
            let warnings = report.warnings();
            let event = match warnings {
                [] => Event::JobCompleted,
                _ => Event::JobCompletedWithWarnings,
            };
            let mut message = format!("{kind} {job} of {volume} completed: {}", report.describe());
            for warning in warnings {
                message = format!("{message}; warning: {warning}");
            }
            let phase = Some(Phase::Completed.as_str());
            let backup = Some(report.backup());
            journal::write(event, &Fields { phase, backup, ..*fields }, message);
            if report.is_alarming() {
                let found = warnings.join("; ");
                journal::write(Event::BaseContradicted, fields, format!("{volume}: {found}"));
            }
        }
        Err(failure) => {
            let (event, phase) = match failure.code {
                Code::Canceled => (Event::JobCanceled, Phase::Canceled),
                Code::Guard => (Event::PoolLimit, Phase::Failed),
                _ => (Event::JobFailed, Phase::Failed),
            };
            let fields =
                Fields { phase: Some(phase.as_str()), code: Some(failure.code), ..*fields };
            journal::write(event, &fields, format!("{kind} {job} of {volume}: {failure}"));
        }
    }
}

impl Report {
    fn warnings(&self) -> &[String] {
        match self {
            Self::Upload(upload) => &upload.warnings,
            Self::Download(download) => &download.warnings,
        }
    }

    fn is_alarming(&self) -> bool {
        match self {
            Self::Upload(upload) => upload.is_alarming(),
            Self::Download(download) => download.is_alarming(),
        }
    }

    /// The id of the backup that was made, or written back.
    fn backup(&self) -> &str {
        match self {
            Self::Upload(upload) => &upload.id,
            Self::Download(download) => &download.id,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Upload(upload) => format!(
                "backup {}, tier {} ({}), {} bytes read, {} stored",
                upload.id, upload.tier, upload.reason, upload.read_bytes, upload.stored_bytes
            ),
            Self::Download(download) => format!(
                "backup {}, {} bytes written, {} discarded",
                download.id, download.written_bytes, download.discarded_bytes
            ),
        }
    }
}

/// A job that an earlier life of the agent left unfinished, and what is known of what it left.
pub(super) fn interrupt(table: &Table, job: &Job, left: &[String]) {
    let before = job.status.phase.as_str();
    let mut message =
        format!("the agent ended while the job was {before}: it was killed, crashed or lost power");
    if left.is_empty() {
        message.push_str("; nothing of it is left on this host");
    } else {
        message = format!("{message}; still to be put back: {}", left.join("; "));
    }
    let hint = match job.kind {
        Kind::Upload => {
            "start it again; if its backup was already committed, it is listed and complete"
        }
        Kind::Download => {
            "start it again; a volume that it had begun to overwrite is marked as half restored \
             until a restore to it is done"
        }
    };
    let failure = Failure::new(Code::Interrupted, message).hint(hint);
    let fields = Fields {
        job: Some(&job.id),
        kind: Some(job.kind.as_str()),
        volume: Some(job.subject()),
        phase: Some(Phase::Failed.as_str()),
        code: Some(failure.code),
        ..Fields::default()
    };
    let text = format!("{} {} of {}: {failure}", job.kind.as_str(), job.id, job.subject());
    journal::write(Event::JobInterrupted, &fields, text);
    if let Err(error) = table.conclude(&job.id, |job| job.status.fail(Phase::Failed, failure)) {
        journal::warn(format!("the end of job {} could not be put on record: {error}", job.id));
    }
}
