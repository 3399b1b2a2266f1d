//! An engine for tests that does what disks and kernels do on a bad day.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;

use super::Backend;
use super::operation::{Operation, Step};
use crate::ALIGNMENT;

/// Which faults, and when. Everything follows from `seed`.
#[derive(Clone, Debug)]
pub struct Faults {
    /// What the order, the lengths and the delays are drawn from.
    pub seed: u64,
    /// The longest pause before an attempt.
    pub delay: Duration,
    /// The most that one attempt transfers, in bytes; a multiple of [`ALIGNMENT`].
    pub longest_transfer: usize,
    /// The attempts that fail, counted from 0.
    pub failing: Range<u64>,
    /// How they fail: an error of the system.
    pub errno: Errno,
    /// Whether direct transfers are refused, as by a filesystem that takes O_DIRECT and cannot do it.
    pub refuses_direct: bool,
}

pub(super) struct Faulty {
    /// `None` only while dropping.
    operations: Mutex<Option<Sender<Operation>>>,
    thread: Option<JoinHandle<()>>,
}

impl Faulty {
    pub(super) fn start(faults: Faults) -> io::Result<Self> {
        let (operations, queue) = channel();
        let thread = thread::Builder::new()
            .name("faulty io".into())
            .spawn(move || Disorder { state: faults.seed, faults, attempts: 0 }.run(&queue))?;
        Ok(Self { operations: Mutex::new(Some(operations)), thread: Some(thread) })
    }
}

impl Backend for Faulty {
    fn submit(&self, operation: Operation) {
        if let Some(operations) = &*self.operations.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = operations.send(operation);
        }
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        *self.operations.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Disorder {
    faults: Faults,
    state: u64,
    attempts: u64,
}

impl Disorder {
    fn run(&mut self, queue: &Receiver<Operation>) {
        let mut waiting = Vec::new();
        loop {
            if waiting.is_empty() {
                let Ok(operation) = queue.recv() else { return };
                waiting.push(operation);
            }
            waiting.extend(queue.try_iter());
            let pause = self.below(1 + self.faults.delay.as_micros().try_into().unwrap_or(0));
            thread::sleep(Duration::from_micros(pause));
            let chosen = self.below(waiting.len() as u64);
            let operation = waiting.swap_remove(usize::try_from(chosen).unwrap_or(0));
            match self.attempt(operation) {
                Step::Again(rest) => waiting.push(rest),
                Step::Done(answer) => answer.send(),
            }
        }
    }

    fn attempt(&mut self, mut operation: Operation) -> Step {
        let number = self.attempts;
        self.attempts += 1;
        if self.faults.failing.contains(&number) {
            return operation.settle(Err(self.faults.errno.into()));
        }
        if self.faults.refuses_direct && operation.is_direct() {
            return operation.settle(Err(Errno::EINVAL.into()));
        }
        let units = self.below((self.faults.longest_transfer / ALIGNMENT) as u64);
        let attempt = operation.attempt((usize::try_from(units).unwrap_or(0) + 1) * ALIGNMENT);
        operation.settle(attempt)
    }

    /// A number below `limit` (at least 1), by the constants of Knuth's MMIX.
    fn below(&mut self, limit: u64) -> u64 {
        const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
        const INCREMENT: u64 = 1_442_695_040_888_963_407;
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        (self.state >> 33) % limit.max(1)
    }
}
