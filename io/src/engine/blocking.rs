//! A few threads that wait in pread(2) and pwrite(2).

use std::io;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::Backend;
use super::operation::{Operation, Step};

/// Threads, and with it the depth of the disk's queue: for reads of 1 MiB and more, 4 to 8 equal a
/// ring with 16 in flight.
const THREADS: usize = 8;

pub(super) struct Blocking {
    /// `None` only while dropping.
    operations: Option<Sender<Operation>>,
    threads: Vec<JoinHandle<()>>,
}

impl Blocking {
    pub(super) fn start() -> io::Result<Self> {
        let (operations, queue) = unbounded();
        let mut blocking = Self { operations: Some(operations), threads: Vec::new() };
        for _ in 0..THREADS {
            let queue = queue.clone();
            let thread = thread::Builder::new().name("io".into()).spawn(move || carry_out(&queue));
            blocking.threads.push(thread?);
        }
        Ok(blocking)
    }
}

impl Backend for Blocking {
    fn submit(&self, operation: Operation) {
        if let Some(operations) = &self.operations {
            // The threads end only after this.
            let _ = operations.send(operation);
        }
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        self.operations = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn carry_out(queue: &Receiver<Operation>) {
    for mut operation in queue {
        loop {
            let attempt = operation.attempt(usize::MAX);
            match operation.settle(attempt) {
                Step::Again(rest) => operation = rest,
                Step::Done(answer) => break answer.send(),
            }
        }
    }
}
