//! What [`Table`](super::Table) holds in memory.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use thinmover_repository::Passphrase;

use super::job::{Job, Progress};
use super::spec::Plan;
use crate::engine::Scope;
use crate::failure::{Code, Failure, Result};
use crate::stream::{self, Cancel};

/// How many deletions a watcher may miss before it must list again.
const DELETIONS_KEPT: usize = 1024;

pub(super) struct State {
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) version: u64,
    /// Of jobs that were deleted: the version of the deletion and what the job was.
    pub(super) deleted: VecDeque<(u64, Job)>,
    /// What every new job is answered with, where none is taken.
    pub(super) closed: Option<Failure>,
    /// Before this the past is forgotten.
    pub(super) oldest: u64,
}

pub(super) struct Entry {
    pub(super) job: Job,
    pub(super) created: u64,
    pub(super) version: u64,
    pub(super) cancel: Cancel,
    pub(super) progress: stream::Progress,
    /// Whether an earlier life of the agent began it.
    pub(super) is_orphan: bool,
    /// What a job that waits for its turn needs; secrets are never anywhere else.
    pub(super) waiting: Option<Box<Waiting>>,
    pub(super) deadline: Option<Instant>,
}

pub(super) struct Waiting {
    pub(super) plan: Plan,
    pub(super) scope: Scope,
    pub(super) passphrase: Option<Passphrase>,
}

/// A job at a version: a line of the feed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Change {
    #[serde(rename = "type")]
    pub(crate) change: ChangeType,
    pub(crate) resource_version: u64,
    pub(crate) job: Job,
}

/// What happened to a job since a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum ChangeType {
    Added,
    Modified,
    Deleted,
}

impl State {
    /// Without jobs; `version` is the first that a watcher may begin at.
    pub(super) fn new(version: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            version,
            deleted: VecDeque::new(),
            closed: None,
            oldest: version,
        }
    }

    pub(super) fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    pub(super) fn insert(&mut self, job: Job, waiting: Option<Box<Waiting>>) -> Change {
        let version = self.next_version();
        let entry = Entry {
            created: version,
            version,
            cancel: Cancel::default(),
            progress: stream::Progress::default(),
            is_orphan: waiting.is_none(),
            waiting,
            deadline: None,
            job,
        };
        let change = entry.change(ChangeType::Added);
        self.entries.insert(entry.job.id.clone(), entry);
        change
    }

    pub(super) fn remove(&mut self, id: &str) {
        let Some(entry) = self.entries.remove(id) else { return };
        let version = self.next_version();
        self.deleted.push_back((version, entry.job));
        if self.deleted.len() > DELETIONS_KEPT
            && let Some((version, _)) = self.deleted.pop_front()
        {
            self.oldest = version;
        }
    }

    /// The id of a job of this kind on the same volume, named alike, that has not ended.
    pub(super) fn unfinished_on(&self, job: &Job) -> Option<&str> {
        let same = |other: &&Entry| {
            let other = &other.job;
            !other.status.phase.is_final()
                && other.kind == job.kind
                && other.subject() == job.subject()
        };
        self.entries.values().find(same).map(|entry| entry.job.id.as_str())
    }

    /// What is newer than version `since`, oldest first.
    pub(super) fn changes(&self, since: u64) -> Result<Vec<Change>> {
        if !(self.oldest..=self.version).contains(&since) {
            return Err(Failure::new(
                Code::Gone,
                format!("what happened since version {since} is not known any more"),
            )
            .hint("list the jobs again, and watch from the list's resourceVersion"));
        }
        let living = self.entries.values().filter(|entry| entry.version > since).map(|entry| {
            let is_new = entry.created > since;
            entry.change(if is_new { ChangeType::Added } else { ChangeType::Modified })
        });
        let deleted = self.deleted.iter().filter(|(version, _)| *version > since);
        let deleted = deleted.map(|(version, job)| Change {
            change: ChangeType::Deleted,
            resource_version: *version,
            job: job.clone(),
        });
        let mut changes: Vec<_> = living.chain(deleted).collect();
        changes.sort_by_key(|change| change.resource_version);
        Ok(changes)
    }
}

impl Entry {
    pub(super) fn change(&self, change: ChangeType) -> Change {
        Change { change, resource_version: self.version, job: self.job.clone() }
    }

    /// Whether its turn has come and it has not ended.
    pub(super) fn is_running(&self) -> bool {
        self.waiting.is_none() && !self.job.status.phase.is_final()
    }

    /// Takes over what the job's own counters say.
    pub(super) fn show_progress(&mut self) {
        if !self.is_running() {
            return;
        }
        let status = &mut self.job.status;
        status.progress = Progress {
            bytes_done: self.progress.done_bytes(),
            total_bytes: self.progress.total_bytes(),
        };
        let phase = self.progress.phase();
        if !phase.is_empty() {
            status.message = phase.into_owned();
        }
    }
}
