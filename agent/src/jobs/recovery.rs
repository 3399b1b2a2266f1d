//! Putting back what an earlier life of the agent left, before the first job runs and again while
//! something is left; and saying of its jobs how they ended.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::run::interrupt;
use super::runner::Shared;
use super::table::Table;
use crate::engine::{CurrentEngine, Engine};
use crate::failure::{Code, Failure};
use crate::journal::{self, Event, Fields};

/// How long to wait until what could not be put back is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The state of recovery.
pub(super) struct Recovery {
    attempt: Option<JoinHandle<Outcome>>,
    /// When to try again.
    again_at: Option<Instant>,
}

/// What a recovery came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// What could not be put back, and why.
    pub(crate) left: Vec<String>,
    /// Whether a newer version of thinmover left records on this host.
    pub(crate) newer: bool,
}

impl Recovery {
    /// Begins on a thread of its own: LVM may take its time, and the job loop must turn.
    pub(super) fn start(engine: &CurrentEngine) -> Self {
        Self { attempt: Some(attempt(engine.get())), again_at: None }
    }

    /// Goes on with it, and tries again now and then while something is left and no job runs.
    /// Returns whether jobs may start.
    pub(super) fn is_done(
        &mut self,
        engine: &CurrentEngine,
        table: &Table,
        shared: &Shared,
    ) -> bool {
        if let Some(thread) = self.attempt.take_if(|thread| thread.is_finished()) {
            let outcome = thread.join().unwrap_or_else(|_| Outcome {
                left: vec!["recovery ended by an error in thinmover itself".into()],
                newer: false,
            });
            for job in table.interrupted() {
                interrupt(table, &job, &outcome.left);
            }
            if outcome.newer {
                table.close(made_by_a_newer_version());
            }
            self.again_at = (!outcome.left.is_empty()).then(|| Instant::now() + AGAIN_AFTER);
            shared.set_left(Some(outcome.left));
        }
        let (running, _) = table.counts();
        if running == 0 && self.again_at.is_some_and(|at| at < Instant::now()) {
            self.again_at = None;
            self.attempt = Some(attempt(engine.get()));
        }
        self.attempt.is_none()
    }
}

/// What answers every new job where a newer version has left something: it is cleaned up after as
/// far as this one understands it, and nothing is added.
pub(crate) fn made_by_a_newer_version() -> Failure {
    Failure::new(
        Code::NewerFormat,
        "a newer thinmover left jobs or records on this host: this one takes no new jobs",
    )
    .hint("install that version again")
}

fn attempt(engine: Arc<Engine>) -> JoinHandle<Outcome> {
    std::thread::spawn(move || recover(&engine))
}

/// Puts back what dead processes left. The journal is told of what was, and of what is left.
pub(crate) fn recover(engine: &Engine) -> Outcome {
    let outcome = match engine.recovery() {
        Ok(recovery) => {
            for done in &recovery.done {
                let message = format!("put back after a job that died: {done}");
                journal::write(Event::RecoveryDone, &Fields::default(), message);
            }
            Outcome { left: recovery.left, newer: recovery.newer }
        }
        Err(failure) => {
            Outcome { left: vec![format!("recovery could not be done: {failure}")], newer: false }
        }
    };
    for left in &outcome.left {
        let message = format!("could not be put back: {left}");
        journal::write(Event::RecoveryLeft, &Fields::default(), message);
    }
    outcome
}
