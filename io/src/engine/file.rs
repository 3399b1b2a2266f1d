//! A file that an engine reads and writes.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crossbeam_channel::{Sender, bounded};

use super::Backend;
use super::operation::{Direction, Operation};
use crate::{ALIGNMENT, DirectFile, PooledBuffer};

/// An open file whose reads and writes an engine carries out.
///
/// Dropping it waits until nothing is in flight on it and the engine has let go of it: the device
/// behind it can be removed at once.
pub struct IoFile {
    file: Arc<OpenFile>,
    backend: Arc<dyn Backend>,
}

/// One transfer: `length` bytes at `offset` (bytes) of the file, into or from the front of `buffer`.
///
/// Where the file bypasses the page cache the offset is a multiple of [`ALIGNMENT`], and so is the
/// length of a write, but for a tail that ends with the file on a multiple of its sectors. A read's
/// length need not be, but its buffer has room for it rounded up to that.
#[derive(Debug)]
pub struct Request {
    /// The caller's own number for it; comes back with the completion.
    pub tag: u64,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// How much, in bytes.
    pub length: usize,
    /// Lent to the engine until the completion.
    pub buffer: PooledBuffer,
}

/// What became of a [`Request`], whose fields these are.
#[derive(Debug)]
pub struct Completion {
    /// As in the request.
    pub tag: u64,
    /// As in the request.
    pub offset: u64,
    /// As in the request.
    pub length: usize,
    /// The buffer, after a read with the bytes in front.
    pub buffer: PooledBuffer,
    /// All of it, or what the kernel reported; `UnexpectedEof` where the file ends first.
    pub result: io::Result<()>,
}

/// What operations share of an open file.
pub(super) struct OpenFile {
    pub(super) direct: DirectFile,
    /// Tells the files of this process apart, also closed ones.
    pub(super) number: u64,
    in_flight: Mutex<usize>,
    idle: Condvar,
}

/// Counts an operation as in flight while it lives.
pub(super) struct InFlight(Arc<OpenFile>);

impl IoFile {
    pub(super) fn new(direct: DirectFile, backend: Arc<dyn Backend>) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Relaxed);
        let (in_flight, idle) = Default::default();
        Self { file: Arc::new(OpenFile { direct, number, in_flight, idle }), backend }
    }

    /// Size in bytes when it was opened.
    pub fn size_bytes(&self) -> u64 {
        self.file.direct.size_bytes()
    }

    /// The file for what is no transfer: discard, sync.
    pub fn direct(&self) -> &DirectFile {
        &self.file.direct
    }

    /// Begins a read; its completion goes to `answer`.
    pub fn read(&self, request: Request, answer: &Sender<Completion>) {
        self.submit(Direction::Read, request, answer);
    }

    /// Begins a write; its completion goes to `answer`. Durable only after [`DirectFile::sync`],
    /// called once the completion is there.
    pub fn write(&self, request: Request, answer: &Sender<Completion>) {
        self.submit(Direction::Write, request, answer);
    }

    /// Reads and waits for it: `length` bytes at `offset`, as in a [`Request`].
    ///
    /// # Errors
    /// As [`Completion::result`]; the buffer has then gone back to its pool.
    pub fn read_now(
        &self,
        buffer: PooledBuffer,
        length: usize,
        offset: u64,
    ) -> io::Result<PooledBuffer> {
        let (answer, answers) = bounded(1);
        self.read(Request { tag: 0, offset, length, buffer }, &answer);
        drop(answer);
        let Completion { buffer, result, .. } = answers.recv().map_err(io::Error::other)?;
        result.map(|()| buffer)
    }

    fn submit(&self, direction: Direction, request: Request, answer: &Sender<Completion>) {
        debug_assert!(
            !self.file.direct.is_direct() || request.offset.is_multiple_of(ALIGNMENT as u64)
        );
        let in_flight = OpenFile::enter(&self.file);
        if let Some(operation) = Operation::new(in_flight, direction, request, answer.clone()) {
            self.backend.submit(operation);
        }
    }
}

impl Drop for IoFile {
    fn drop(&mut self) {
        let mut in_flight = self.file.lock();
        while *in_flight > 0 {
            in_flight = self.file.idle.wait(in_flight).unwrap_or_else(PoisonError::into_inner);
        }
        self.backend.close(self.file.number);
    }
}

impl fmt::Debug for IoFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoFile").field("file", &self.file.direct).finish_non_exhaustive()
    }
}

impl OpenFile {
    fn enter(file: &Arc<Self>) -> InFlight {
        *file.lock() += 1;
        InFlight(Arc::clone(file))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, usize> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InFlight {
    pub(super) fn file(&self) -> &OpenFile {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.idle.notify_all();
    }
}
