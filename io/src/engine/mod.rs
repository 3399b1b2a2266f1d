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

/// One of the engines. Clones share its threads.
#[derive(Clone)]
pub struct IoEngine(Arc<Shared>);

struct Shared {
    choice: Choice,
    /// Lives while a file is open.
    running: Mutex<Weak<dyn Backend>>,
}

/// Which engine, decided anew whenever the first file is opened: what the kernel allows can change.
enum Choice {
    Automatic,
    Fixed(EngineKind),
    #[cfg(any(test, feature = "fault-injection"))]
    Faulty(Faults),
}

impl IoEngine {
    /// The engine that is wanted, or, where it does not matter, io_uring while the kernel lets us and
    /// else the blocking one.
    ///
    /// # Errors
    /// Why the kernel refuses io_uring, where nothing else is wanted.
    pub fn new(wanted: Option<EngineKind>) -> io::Result<Self> {
        if wanted == Some(EngineKind::IoUring) {
            choice::probe()?;
        }
        Ok(Self::of(wanted.map_or(Choice::Automatic, Choice::Fixed)))
    }

    /// An engine that makes the faults which disks and kernels make; see [`Faults`].
    #[cfg(any(test, feature = "fault-injection"))]
    pub fn faulty(faults: Faults) -> Self {
        Self::of(Choice::Faulty(faults))
    }

    fn of(choice: Choice) -> Self {
        let running: Weak<Blocking> = Weak::new();
        Self(Arc::new(Shared { choice, running: Mutex::new(running) }))
    }

    /// Which engine the next file would be opened with, and why, as the end of a sentence.
    pub fn describe(&self) -> (EngineKind, String) {
        const CONFIGURED: &str = "it is configured";
        match &self.0.choice {
            Choice::Fixed(kind) => (*kind, CONFIGURED.into()),
            Choice::Automatic => match choice::probe() {
                Ok(()) => (EngineKind::IoUring, "the kernel allows it".into()),
                Err(error) => (EngineKind::Blocking, error.to_string()),
            },
            #[cfg(any(test, feature = "fault-injection"))]
            Choice::Faulty(_) => (EngineKind::Blocking, "a test wants faults".into()),
        }
    }

    /// Takes over an open file, to carry out reads and writes on it.
    ///
    /// # Errors
    /// What keeps the engine's threads from starting.
    pub fn open(&self, file: DirectFile) -> io::Result<IoFile> {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        let backend = match running.upgrade() {
            Some(backend) => backend,
            None => self.0.choice.start()?,
        };
        *running = Arc::downgrade(&backend);
        Ok(IoFile::new(file, backend))
    }
}

impl Choice {
    fn start(&self) -> io::Result<Arc<dyn Backend>> {
        Ok(match self {
            Self::Fixed(EngineKind::Blocking) => Arc::new(Blocking::start()?),
            Self::Fixed(EngineKind::IoUring) => Arc::new(Uring::start().map_err(choice::explain)?),
            Self::Automatic => match Uring::start() {
                Ok(uring) => Arc::new(uring),
                Err(_) => Arc::new(Blocking::start()?),
            },
            #[cfg(any(test, feature = "fault-injection"))]
            Self::Faulty(faults) => Arc::new(faulty::Faulty::start(faults.clone())?),
        })
    }
}

impl Default for IoEngine {
    fn default() -> Self {
        Self::of(Choice::Automatic)
    }
}

impl fmt::Debug for IoEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let choice: &dyn fmt::Debug = match &self.0.choice {
            Choice::Automatic => &"automatic",
            Choice::Fixed(kind) => kind,
            #[cfg(any(test, feature = "fault-injection"))]
            Choice::Faulty(faults) => faults,
        };
        f.debug_tuple("IoEngine").field(choice).finish()
    }
}
