//! A file that an engine reads and writes.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

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
    idle: Arc<Idle>,
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
    /// The buffer, after a read with the bytes in front; or what the kernel reported, and the buffer
    /// has gone back to its pool. `UnexpectedEof` where the file ends first, `WriteZero` where it
    /// takes no more, `InvalidInput` where the buffer is too short.
    pub result: io::Result<PooledBuffer>,
}

/// What operations share of an open file.
pub(super) struct OpenFile {
    pub(super) direct: DirectFile,
    /// Tells the files of this process apart, also closed ones.
    pub(super) number: u64,
}

/// How many operations are in flight on a file.
#[derive(Default)]
struct Idle {
    in_flight: Mutex<usize>,
    none_left: Condvar,
}

/// An operation's hold on its file, which is counted. In this order: once it is no longer counted it
/// no longer keeps the file open.
pub(super) struct InFlight {
    file: Arc<OpenFile>,
    _counted: Counted,
}

struct Counted(Arc<Idle>);

impl IoFile {
    pub(super) fn new(direct: DirectFile, backend: Arc<dyn Backend>) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Relaxed);
        let file = Arc::new(OpenFile { direct, number });
        Self { file, idle: Arc::default(), backend }
    }

    /// Size in bytes when it was opened.
    pub fn size_bytes(&self) -> u64 {
        self.file.direct.size_bytes()
    }

    /// The file for what is no transfer: discard, sync.
    pub fn direct(&self) -> &DirectFile {
        &self.file.direct
    }

    /// Begins a read; its completion goes to `answer`, a channel with room for the answers of all
    /// that is in flight: one that is full holds up every file of the engine.
    pub fn read(&self, request: Request, answer: &Sender<Completion>) {
        self.submit(Direction::Read, request, answer);
    }

    /// Begins a write; its completion goes to `answer`, as that of a read. Durable only after [`DirectFile::sync`],
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
        answers.recv().map_err(io::Error::other)?.result
    }

    fn submit(&self, direction: Direction, request: Request, answer: &Sender<Completion>) {
        debug_assert!(
            !self.file.direct.is_direct() || request.offset.is_multiple_of(ALIGNMENT as u64)
        );
        let in_flight =
            InFlight { file: Arc::clone(&self.file), _counted: Counted::new(&self.idle) };
        if let Some(operation) = Operation::new(in_flight, direction, request, answer.clone()) {
            self.backend.submit(operation);
        }
    }
}

impl Drop for IoFile {
    fn drop(&mut self) {
        let mut in_flight = self.idle.lock();
        while *in_flight > 0 {
            let waited = self.idle.none_left.wait(in_flight);
            in_flight = waited.unwrap_or_else(PoisonError::into_inner);
        }
        drop(in_flight);
        self.backend.close(self.file.number);
    }
}

impl fmt::Debug for IoFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoFile").field("file", &self.file.direct).finish_non_exhaustive()
    }
}

impl Idle {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn new(idle: &Arc<Idle>) -> Self {
        *idle.lock() += 1;
        Self(Arc::clone(idle))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.none_left.notify_all();
    }
}

impl InFlight {
    pub(super) fn file(&self) -> &OpenFile {
        &self.file
    }
}
