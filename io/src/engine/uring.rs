//! One io_uring on one thread, by way of tokio-uring.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::bounded;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_uring::Runtime;
use tokio_uring::buf::{IoBuf, IoBufMut};
use tokio_uring::fs::File;

use super::Backend;
use super::operation::{Answer, Direction, Operation, Step};

/// Entries of the submission queue, and transfers in flight.
const ENTRIES: u32 = 64;

pub(super) struct Uring {
    /// `None` only while dropping.
    requests: Option<UnboundedSender<ToRing>>,
    thread: Option<JoinHandle<()>>,
}

enum ToRing {
    Transfer(Operation),
    /// The sender is dropped once the file is closed.
    Close(u64, crossbeam_channel::Sender<()>),
}

/// A runtime with a ring of its own, which belongs to the thread that made it.
///
/// # Errors
/// The kernel's reason to refuse a ring.
pub(super) fn runtime() -> io::Result<Runtime> {
    Runtime::new(tokio_uring::builder().entries(ENTRIES))
}

impl Uring {
    pub(super) fn start() -> io::Result<Self> {
        let (requests, queue) = unbounded_channel();
        let (started, starts) = bounded(1);
        let thread = thread::Builder::new().name("io_uring".into()).spawn(move || {
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return;
                }
            };
            let _ = started.send(Ok(()));
            runtime.block_on(serve(queue));
        })?;
        starts.recv().map_err(io::Error::other)??;
        Ok(Self { requests: Some(requests), thread: Some(thread) })
    }

    fn tell(&self, request: ToRing) {
        if let Some(requests) = &self.requests {
            // The thread ends only after this.
            let _ = requests.send(request);
        }
    }
}

impl Backend for Uring {
    fn submit(&self, operation: Operation) {
        self.tell(ToRing::Transfer(operation));
    }

    fn close(&self, file: u64) {
        let (closed, closes) = bounded(0);
        self.tell(ToRing::Close(file, closed));
        // Comes as an error: nothing is ever sent.
        let _ = closes.recv();
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(mut requests: UnboundedReceiver<ToRing>) {
    // No more than the queue holds: tokio-uring panics where a full queue cannot be submitted.
    let room = Arc::new(Semaphore::new(ENTRIES as usize));
    let mut files: HashMap<u64, Rc<File>> = HashMap::new();
    while let Some(request) = requests.recv().await {
        match request {
            ToRing::Transfer(operation) => match open(&mut files, &operation) {
                Ok(file) => {
                    let Ok(place) = Arc::clone(&room).acquire_owned().await else { break };
                    tokio_uring::spawn(async move {
                        transfer(file, operation).await.send();
                        drop(place);
                    });
                }
                Err(error) => operation.fail(error).send(),
            },
            // Nothing of it is in flight, so this closes it here and now.
            ToRing::Close(number, _closed) => drop(files.remove(&number)),
        }
    }
}

/// The ring's own descriptor of the operation's file.
fn open(files: &mut HashMap<u64, Rc<File>>, operation: &Operation) -> io::Result<Rc<File>> {
    let file = operation.file();
    Ok(match files.entry(file.number) {
        Entry::Occupied(known) => Rc::clone(known.get()),
        Entry::Vacant(place) => {
            Rc::clone(place.insert(Rc::new(File::from_std(file.direct.duplicate()?))))
        }
    })
}

/// Drops its hold on the file first: whoever waits for the answer may close it.
async fn transfer(file: Rc<File>, mut operation: Operation) -> Answer {
    loop {
        let offset = operation.offset();
        let (attempt, back) = match operation.direction() {
            Direction::Read => file.read_at(operation, offset).await,
            Direction::Write => file.write_at(operation, offset).submit().await,
        };
        match back.settle(attempt) {
            Step::Again(rest) => operation = rest,
            Step::Done(answer) => return answer,
        }
    }
}

// SAFETY: the bytes are those of a pooled buffer, which live on the heap: they stay where they are
// while the operation moves, and are initialised throughout. The ring owns the operation until the
// kernel is done with it.
#[allow(unsafe_code)]
unsafe impl IoBuf for Operation {
    fn stable_ptr(&self) -> *const u8 {
        self.rest().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.rest().len()
    }

    fn bytes_total(&self) -> usize {
        self.rest().len()
    }
}

// SAFETY: as above; a read borrows no bytes elsewhere, since the operation is owned by the ring.
#[allow(unsafe_code)]
unsafe impl IoBufMut for Operation {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.rest_mut().as_mut_ptr()
    }

    unsafe fn set_init(&mut self, _end: usize) {
        // All bytes are initialised; what was transferred is counted by `settle`.
    }
}
