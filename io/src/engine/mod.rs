//! The I/O engines: who carries out the reads and writes of the data path.
//!
//! A caller opens a [`DirectFile`] through an [`IoEngine`], hands in whole requests with the buffer
//! they use, and gets each back as a [`Completion`] on a channel of its own choice, in whatever
//! order they end. Short transfers are continued here, so that a completion is all or an error.
//!
//! `io_uring` runs one ring on one thread; `blocking` a few threads that wait in pread(2) and
//! pwrite(2). What comes of a request does not depend on which: the same tests run on both, and on
//! an engine that delays, shortens, reorders and fails. Threads and ring exist only while a file is
//! open; an idle process has none.

mod blocking;
mod choice;
#[cfg(any(test, feature = "fault-injection"))]
mod faulty;
mod file;
mod operation;
#[cfg(test)]
mod tests;
mod uring;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

pub use choice::EngineKind;
#[cfg(any(test, feature = "fault-injection"))]
pub use faulty::Faults;
pub use file::{Completion, IoFile, Request};

use crate::DirectFile;
use blocking::Blocking;
use operation::Operation;
use uring::Uring;

/// What carries out operations. Dropping it ends its threads, and waits for that.
trait Backend: Send + Sync {
    /// Carries out the whole operation and answers it, from another thread.
    fn submit(&self, operation: Operation);

    /// Lets go of the file with this number, on which nothing is in flight.
    fn close(&self, _file: u64) {}
}

type Start = dyn Fn() -> io::Result<Arc<dyn Backend>> + Send + Sync;

/// One of the engines. Clones share its threads.
#[derive(Clone)]
pub struct IoEngine(Arc<Shared>);

struct Shared {
    name: &'static str,
    reason: String,
    start: Box<Start>,
    /// Lives while a file is open.
    running: Mutex<Weak<dyn Backend>>,
}

impl IoEngine {
    /// The engine that is wanted, or, where it does not matter, io_uring if the kernel lets us and
    /// else the blocking one.
    ///
    /// # Errors
    /// Why the kernel refuses io_uring, where nothing else is wanted.
    pub fn new(wanted: Option<EngineKind>) -> io::Result<Self> {
        const CONFIGURED: &str = "it is configured";
        match wanted {
            None => Ok(Self::automatic()),
            Some(EngineKind::Blocking) => Ok(Self::blocking(CONFIGURED.into())),
            Some(EngineKind::IoUring) => choice::probe().map(|()| Self::io_uring(CONFIGURED)),
        }
    }

    /// io_uring if the kernel lets us, else blocking.
    fn automatic() -> Self {
        match choice::probe() {
            Ok(()) => Self::io_uring("the kernel allows it"),
            Err(error) => Self::blocking(error.to_string()),
        }
    }

    fn blocking(reason: String) -> Self {
        Self::of("blocking", reason, || Ok(Arc::new(Blocking::start()?)))
    }

    fn io_uring(reason: &str) -> Self {
        Self::of("io_uring", reason.into(), || Ok(Arc::new(Uring::start()?)))
    }

    /// An engine that makes the faults which disks and kernels make; see [`Faults`].
    #[cfg(any(test, feature = "fault-injection"))]
    pub fn faulty(faults: Faults) -> Self {
        Self::of("faulty", "a test wants it".into(), move || {
            Ok(Arc::new(faulty::Faulty::start(faults.clone())?))
        })
    }

    fn of(
        name: &'static str,
        reason: String,
        start: impl Fn() -> io::Result<Arc<dyn Backend>> + Send + Sync + 'static,
    ) -> Self {
        let running: Weak<Blocking> = Weak::new();
        Self(Arc::new(Shared {
            name,
            reason,
            start: Box::new(start),
            running: Mutex::new(running),
        }))
    }

    /// Its name: `io_uring` or `blocking`.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// Why this engine, as the end of a sentence.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// Takes over an open file, to carry out reads and writes on it.
    ///
    /// # Errors
    /// What keeps the engine's threads from starting.
    pub fn open(&self, file: DirectFile) -> io::Result<IoFile> {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        let backend = match running.upgrade() {
            Some(backend) => backend,
            None => (self.0.start)()?,
        };
        *running = Arc::downgrade(&backend);
        Ok(IoFile::new(file, backend))
    }
}

impl Default for IoEngine {
    fn default() -> Self {
        Self::automatic()
    }
}

impl fmt::Debug for IoEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoEngine").field("name", &self.0.name).finish_non_exhaustive()
    }
}
