//! A few threads that wait in pread(2) and pwrite(2).

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::Backend;
use super::operation::{Operation, Step};

/// The most threads, and with it the depth of the disk's queue. For reads of 1 MiB and more 8 equal a
/// ring with 16 in flight; scattered reads of 4 KiB want this many. There are only as many as there
/// have been operations in flight.
const THREADS_MAX: usize = 32;

pub(super) struct Blocking {
    /// `None` only while dropping.
    operations: Option<Sender<Operation>>,
    queue: Receiver<Operation>,
    in_flight: Arc<AtomicUsize>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Blocking {
    pub(super) fn start() -> io::Result<Self> {
        let (operations, queue) = unbounded();
        let (operations, threads) = (Some(operations), Mutex::default());
        let blocking = Self { operations, queue, in_flight: Arc::default(), threads };
        blocking.grow(1)?;
        Ok(blocking)
    }

    /// Sees to a thread for each of so many operations, if that is allowed.
    fn grow(&self, in_flight: usize) -> io::Result<()> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if threads.len() < in_flight.min(THREADS_MAX) {
            let (queue, in_flight) = (self.queue.clone(), Arc::clone(&self.in_flight));
            let thread = thread::Builder::new().name("io".into());
            threads.push(thread.spawn(move || carry_out(&queue, &in_flight))?);
        }
        Ok(())
    }
}

impl Backend for Blocking {
    fn submit(&self, operation: Operation) {
        if let Some(operations) = &self.operations {
            // With fewer threads it takes longer.
            let _ = self.grow(self.in_flight.fetch_add(1, Relaxed) + 1);
            // The threads end only after this.
            let _ = operations.send(operation);
        }
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        self.operations = None;
        let threads = self.threads.get_mut().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn carry_out(queue: &Receiver<Operation>, in_flight: &AtomicUsize) {
    for mut operation in queue {
        loop {
            let attempt = operation.attempt(usize::MAX);
            match operation.settle(attempt) {
                Step::Again(rest) => operation = rest,
                Step::Done(answer) => {
                    // First: whoever has the answer may ask for the next at once.
                    in_flight.fetch_sub(1, Relaxed);
                    break answer.send();
                }
            }
        }
    }
}
