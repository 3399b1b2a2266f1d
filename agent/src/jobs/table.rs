//! All jobs, in memory and on disk, and what changed since when.
//!
//! Every change gives the job the next resource version. A watcher asks for what is newer than the
//! last version it saw and gets each job once, as it is now. Only deletions need a memory of their
//! own, and that is bounded: who asks for a past that is forgotten must list again.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Map, Value};
use thinmover_repository::Passphrase;
use tokio::sync::watch;

use super::job::{Job, Kind, Phase, Progress};
use super::spec::Plan;
use super::state::{Change, ChangeType, Entry, State, Waiting};
use super::store::JobStore;
use crate::engine::Scope;
use crate::failure::{Code, Failure, Result};
use crate::stream::{self, Cancel, Canceled};

/// All jobs.
pub(crate) struct Table {
    state: Mutex<State>,
    /// Held while a change is made durable, so that changes reach the disk in their order. Taken
    /// before `state`, which is never held during a write.
    writer: Mutex<()>,
    store: JobStore,
    /// The newest version, for those who wait for one.
    newest: watch::Sender<u64>,
}

/// A job to be taken on record.
pub(crate) struct NewJob {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) spec: Map<String, Value>,
    pub(crate) plan: Plan,
    pub(crate) scope: Scope,
    /// From the request, where one came with it.
    pub(crate) passphrase: Option<Passphrase>,
}

/// What became of a [`NewJob`].
pub(crate) enum Submitted {
    Created(Change),
    /// The same was asked for before.
    Existing(Change),
}

/// A job whose turn has come.
pub(super) struct Turn {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) subject: String,
    pub(super) plan: Plan,
    pub(super) scope: Scope,
    pub(super) passphrase: Option<Passphrase>,
    pub(super) cancel: Cancel,
    pub(super) progress: stream::Progress,
}

impl Table {
    /// Reads what is on record in `state_dir`. Returns what the operator should know, and whether a
    /// newer version of thinmover has left jobs here.
    ///
    /// # Errors
    /// When the folder of jobs cannot be read.
    pub(crate) fn load(state_dir: &Path) -> Result<(Self, Vec<String>, bool)> {
        let store = JobStore::new(state_dir);
        let loaded = store.load()?;
        // Versions of an earlier life are not given out again, as long as the clock does not go back.
        let start = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(0);
        let mut state = State::new(start);
        for job in loaded.jobs {
            state.insert(job, None);
        }
        let newest = watch::Sender::new(state.version);
        let table = Self { state: Mutex::new(state), writer: Mutex::new(()), store, newest };
        Ok((table, loaded.problems, loaded.newer))
    }

    /// Takes a job on record, durably, before anything acts.
    ///
    /// # Errors
    /// `Exists` when the id stands for something else, `Busy` when a job of the same kind on the
    /// same volume has not ended, and what the disk reports.
    pub(crate) fn submit(&self, new: NewJob, node: &str) -> Result<Submitted> {
        let _writer = self.writer();
        {
            let state = self.state();
            if let Some(entry) = state.entries.get(&new.id) {
                return if entry.job.kind == new.kind && entry.job.asks_for(&new.spec) {
                    Ok(Submitted::Existing(entry.change(ChangeType::Modified)))
                } else {
                    Err(taken(&entry.job))
                };
            }
            if let Some(answer) = &state.closed {
                return Err(answer.clone());
            }
        }
        let job = Job::new(new.id, new.kind, new.spec, node);
        if let Some(other) = self.state().unfinished_on(&job) {
            return Err(Failure::new(
                Code::Busy,
                format!("{} {} of {} has not ended yet", job.kind.as_str(), other, job.subject()),
            )
            .hint(format!("`thinmover job watch {other}` shows it, `job cancel` ends it")));
        }
        self.store.write(&job)?;
        let waiting = Waiting { plan: new.plan, scope: new.scope, passphrase: new.passphrase };
        let change = self.state().insert(job, Some(Box::new(waiting)));
        self.newest.send_replace(change.resource_version);
        Ok(Submitted::Created(change))
    }

    pub(crate) fn get(&self, id: &str) -> Option<Change> {
        self.state().entries.get(id).map(|entry| entry.change(ChangeType::Modified))
    }

    /// All jobs by the time they were asked for, and the version of this list.
    pub(crate) fn list(&self) -> (Vec<Change>, u64) {
        let state = self.state();
        let mut jobs: Vec<_> =
            state.entries.values().map(|entry| entry.change(ChangeType::Added)).collect();
        jobs.sort_by_key(|change| change.job.status.created_timestamp);
        (jobs, state.version)
    }

    /// What is newer than version `since`, oldest first, and the version that this leads to.
    ///
    /// # Errors
    /// `Gone` when that past is forgotten, or is of another life of the agent.
    pub(crate) fn changes(&self, since: u64) -> Result<(Vec<Change>, u64)> {
        let state = self.state();
        Ok((state.changes(since)?, state.version))
    }

    /// Wakes whenever there is a newer version.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Asks a job to end. One that waits ends at once; one that has ended stays as it is.
    ///
    /// # Errors
    /// `NotFound`, and what the disk reports; a job that runs ends all the same.
    pub(crate) fn cancel(&self, id: &str, reason: Canceled) -> Result<Change> {
        let _writer = self.writer();
        let mut job = {
            let state = self.state();
            let entry = state.entries.get(id).ok_or_else(|| no_such_job(id))?;
            if entry.job.status.phase.is_final() {
                return Ok(entry.change(ChangeType::Modified));
            }
            entry.cancel.cancel(reason.clone());
            let mut job = entry.job.clone();
            if entry.waiting.is_some() {
                job.status.fail(Phase::Canceled, reason.clone().into());
            } else {
                job.status.phase = Phase::Canceling;
            }
            job
        };
        if matches!(reason, Canceled::Asked { .. }) {
            job.spec.insert("cancel".into(), true.into());
        }
        self.store.write(&job)?;
        self.publish(job, |entry| entry.waiting = None)
    }

    /// Takes a job that has ended off the record.
    ///
    /// # Errors
    /// `NotFound`, `Busy` while it has not ended, and what the disk reports.
    pub(crate) fn delete(&self, id: &str) -> Result<()> {
        let _writer = self.writer();
        let ended = {
            let state = self.state();
            let entry = state.entries.get(id).ok_or_else(|| no_such_job(id))?;
            entry.job.status.phase.is_final()
        };
        if !ended {
            return Err(Failure::new(Code::Busy, format!("job {id} has not ended yet"))
                .hint(format!("cancel it first: `thinmover job cancel {id}`")));
        }
        self.store.remove(id)?;
        let mut state = self.state();
        state.remove(id);
        self.newest.send_replace(state.version);
        Ok(())
    }

    /// Number of jobs that are running, and that wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.state();
        let count =
            |is: fn(&Entry) -> bool| state.entries.values().filter(|entry| is(entry)).count();
        (count(Entry::is_running), count(|entry| entry.waiting.is_some()))
    }

    /// Those that an earlier life of the agent left unfinished.
    pub(super) fn interrupted(&self) -> Vec<Job> {
        let state = self.state();
        let orphans = state.entries.values().filter(|entry| entry.is_orphan && entry.is_running());
        orphans.map(|entry| entry.job.clone()).collect()
    }

    /// Refuses new jobs from now on, with this answer. One that is being taken on record meanwhile is
    /// on record afterwards.
    pub(crate) fn close(&self, answer: Failure) {
        let _writer = self.writer();
        self.state().closed = Some(answer);
    }

    /// Why new jobs are refused, if they are.
    pub(crate) fn closed(&self) -> Option<Failure> {
        self.state().closed.clone()
    }

    /// The job that has waited longest, now `Accepted`, unless `max_running` are running.
    ///
    /// # Errors
    /// What the disk reports; the job goes on waiting.
    pub(super) fn next_turn(&self, max_running: usize) -> Result<Option<Turn>> {
        let _writer = self.writer();
        let (running, _) = self.counts();
        if running >= max_running {
            return Ok(None);
        }
        let mut job = {
            let state = self.state();
            let waiting = state.entries.values().filter(|entry| entry.waiting.is_some());
            match waiting.min_by_key(|entry| entry.created) {
                Some(entry) => entry.job.clone(),
                None => return Ok(None),
            }
        };
        job.status.phase = Phase::Accepted;
        job.status.message = "starting".into();
        job.status.start_timestamp = Some(Timestamp::now());
        self.store.write(&job)?;
        let mut turn = None;
        self.publish(job, |entry| {
            let Some(waiting) = entry.waiting.take() else { return };
            let Waiting { plan, scope, passphrase } = *waiting;
            entry.deadline = plan.operation_timeout.map(|timeout| Instant::now() + timeout);
            turn = Some(Turn {
                id: entry.job.id.clone(),
                kind: entry.job.kind,
                subject: entry.job.subject().to_owned(),
                plan,
                scope,
                passphrase,
                cancel: entry.cancel.clone(),
                progress: entry.progress.clone(),
            });
        })?;
        Ok(turn)
    }

    /// Changes a job, durably, and tells everybody.
    ///
    /// # Errors
    /// `NotFound`, and what the disk reports: nothing is changed then.
    pub(super) fn update(&self, id: &str, act: impl FnOnce(&mut Job)) -> Result<Change> {
        let _writer = self.writer();
        let mut job = self.current(id)?;
        act(&mut job);
        self.store.write(&job)?;
        self.publish(job, |_| {})
    }

    /// As [`update`](Self::update), but what has happened has happened, also where the disk refuses
    /// to take it.
    ///
    /// # Errors
    /// What the disk reports; the change is visible all the same.
    pub(super) fn conclude(&self, id: &str, act: impl FnOnce(&mut Job)) -> Result<()> {
        let _writer = self.writer();
        let mut job = self.current(id)?;
        act(&mut job);
        let written = self.store.write(&job);
        self.publish(job, |_| {})?;
        written
    }

    /// Gives every job whose counters moved a new version; returns one line on what runs.
    pub(super) fn publish_progress(&self) -> Option<String> {
        let mut state = self.state();
        let mut line = None;
        let mut version = state.version;
        for entry in state.entries.values_mut() {
            if !entry.is_running() {
                continue;
            }
            let before = (entry.job.status.progress, entry.job.status.message.clone());
            entry.show_progress();
            let status = &entry.job.status;
            if before != (status.progress, status.message.clone()) {
                version += 1;
                entry.version = version;
            }
            line.get_or_insert_with(|| {
                let Progress { bytes_done, total_bytes } = status.progress;
                let percent = (bytes_done * 100).checked_div(total_bytes);
                let percent = percent.map_or_else(String::new, |percent| format!(", {percent} %"));
                let (kind, subject) = (entry.job.kind.as_str(), entry.job.subject());
                format!("{kind} of {subject}: {}{percent}", status.message)
            });
        }
        if version != state.version {
            state.version = version;
            self.newest.send_replace(version);
        }
        line
    }

    /// Cancels jobs whose time is over.
    pub(super) fn cancel_overdue(&self) {
        let now = Instant::now();
        let state = self.state();
        let overdue = state.entries.values().filter(|entry| {
            !entry.job.status.phase.is_final() && entry.deadline.is_some_and(|end| end < now)
        });
        let overdue: Vec<String> = overdue.map(|entry| entry.job.id.clone()).collect();
        drop(state);
        for id in overdue {
            let _ = self.cancel(&id, Canceled::Overdue);
        }
    }

    /// Takes the oldest jobs that have ended off the record until `keep` are left.
    pub(super) fn prune(&self, keep: usize) {
        let state = self.state();
        let ended = state.entries.values().filter(|entry| entry.job.status.phase.is_final());
        let mut ended: Vec<_> = ended
            .map(|entry| (entry.job.status.completion_timestamp, entry.job.id.clone()))
            .collect();
        drop(state);
        ended.sort();
        let surplus = ended.len().saturating_sub(keep);
        for (_, id) in ended.drain(..surplus) {
            let _ = self.delete(&id);
        }
    }

    /// Refuses new jobs and cancels everything that waits or runs: nothing is to run after the agent.
    pub(super) fn end(&self) {
        self.close(
            Failure::new(Code::NoDaemon, "the agent is stopping and takes no new jobs")
                .hint("ask again: the next call starts it anew, unless its socket was stopped too"),
        );
        let by = "the agent, which is stopping";
        for change in self.list().0 {
            if !change.job.status.phase.is_final() {
                let _ = self.cancel(&change.job.id, Canceled::Asked { by: by.to_owned() });
            }
        }
    }

    /// The job as it is now.
    fn current(&self, id: &str) -> Result<Job> {
        let mut state = self.state();
        let entry = state.entries.get_mut(id).ok_or_else(|| no_such_job(id))?;
        entry.show_progress();
        Ok(entry.job.clone())
    }

    /// Shows a job as it now is on disk.
    fn publish(&self, job: Job, act: impl FnOnce(&mut Entry)) -> Result<Change> {
        let mut state = self.state();
        let version = state.next_version();
        let entry = state.entries.get_mut(&job.id).ok_or_else(|| no_such_job(&job.id))?;
        entry.job = job;
        entry.version = version;
        act(entry);
        let change = entry.change(ChangeType::Modified);
        self.newest.send_replace(version);
        Ok(change)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, ()> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_such_job(id: &str) -> Failure {
    Failure::new(Code::NotFound, format!("there is no job {id}"))
        .hint("`thinmover job list` shows what there is")
}

fn taken(job: &Job) -> Failure {
    let (kind, id, subject) = (job.kind.as_str(), &job.id, job.subject());
    Failure::new(
        Code::Exists,
        format!("{id} is already {kind} {id} of {subject}, with another spec"),
    )
    .hint("choose another id; the same id with the same spec is answered with the job")
}
