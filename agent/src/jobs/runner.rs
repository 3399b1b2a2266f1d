//! The job loop: gives jobs their turn, keeps their progress in sight, ends what takes too long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use thinmover_io::crash_point;

use super::recovery::Recovery;
use super::run::run;
use super::table::Table;
use crate::engine::CurrentEngine;
use crate::failure::Result;
use crate::journal;

/// How often the loop turns without being woken.
const PERIOD: Duration = Duration::from_millis(500);

/// The job loop, from within.
struct Runner {
    engine: Arc<CurrentEngine>,
    table: Arc<Table>,
    recovery: Recovery,
    running: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

/// What the loop tells of itself.
#[derive(Default)]
pub(super) struct Shared {
    turns: AtomicU64,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    line: String,
    /// Nothing while the first recovery goes on.
    left: Option<Vec<String>>,
}

enum Message {
    Wake,
    Stop,
}

/// The job loop, from outside. Dropping it leaves the loop running.
pub(crate) struct RunnerHandle {
    sender: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
}

impl Shared {
    pub(super) fn set_left(&self, left: Option<Vec<String>>) {
        self.said().left = left;
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the loop. What an earlier life of the agent left is put back before the first job runs.
pub(crate) fn start(engine: Arc<CurrentEngine>, table: Arc<Table>) -> RunnerHandle {
    // One message is enough to wake it; who finds the channel full knows that it will wake.
    let (sender, receiver) = sync_channel(8);
    let shared = Arc::new(Shared::default());
    let mut runner = Runner {
        recovery: Recovery::start(&engine),
        engine,
        table,
        running: Vec::new(),
        shared: Arc::clone(&shared),
    };
    let thread = std::thread::spawn(move || runner.turn_until_stopped(&receiver));
    RunnerHandle { sender, thread: Some(thread).into(), shared }
}

impl RunnerHandle {
    /// There may be a job to start.
    pub(crate) fn wake(&self) {
        let _ = self.sender.try_send(Message::Wake);
    }

    /// How often the loop has turned: it stands still when the loop hangs.
    pub(crate) fn turns(&self) -> u64 {
        self.shared.turns.load(Ordering::Relaxed)
    }

    /// What runs now, in one line.
    pub(crate) fn line(&self) -> String {
        self.shared.said().line.clone()
    }

    /// What is left on the host of processes that died; nothing while that is not known yet.
    pub(crate) fn left(&self) -> Option<Vec<String>> {
        self.shared.said().left.clone()
    }

    /// Cancels all jobs and waits until everything they made is put back.
    pub(crate) fn stop(&self) {
        let _ = self.sender.send(Message::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Runner {
    fn turn_until_stopped(&mut self, receiver: &Receiver<Message>) {
        loop {
            self.turn();
            match receiver.recv_timeout(PERIOD) {
                Ok(Message::Wake) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.table.end();
        while !self.running.is_empty() {
            std::thread::sleep(Duration::from_millis(20));
            self.show();
            self.reap();
            self.shared.turns.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn turn(&mut self) {
        crash_point("jobs:turn");
        self.reap();
        self.table.cancel_overdue();
        if self.recovery.is_done(&self.engine, &self.table, &self.shared)
            && let Err(failure) = self.start_jobs()
        {
            journal::warn(format!("no job can be started: {failure}"));
        }
        self.table.prune(self.engine.get().settings().jobs.keep);
        self.show();
        self.shared.turns.fetch_add(1, Ordering::Relaxed);
    }

    fn start_jobs(&mut self) -> Result<()> {
        let engine = self.engine.get();
        while let Some(turn) = self.table.next_turn(engine.settings().jobs.max_running)? {
            let (engine, table) = (Arc::clone(&engine), Arc::clone(&self.table));
            self.running.push(std::thread::spawn(move || run(turn, &engine, &table)));
        }
        Ok(())
    }

    fn show(&self) {
        let line = self.table.publish_progress().unwrap_or_else(|| "no job is running".into());
        self.shared.said().line = line;
    }

    fn reap(&mut self) {
        let (ended, running): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.running).into_iter().partition(JoinHandle::is_finished);
        self.running = running;
        for thread in ended {
            let _ = thread.join();
        }
    }
}
