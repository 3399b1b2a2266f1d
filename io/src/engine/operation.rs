//! A request on its way: what is left of it to transfer, and how each attempt is judged. All
//! engines go through this, so that they differ in nothing but who calls the kernel.

use std::io;

use crossbeam_channel::Sender;
use nix::errno::Errno;

use super::file::{Completion, InFlight, OpenFile, Request};
use crate::{ALIGNMENT, DirectFile, PooledBuffer};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

pub(super) struct Operation {
    direction: Direction,
    /// How much of the buffer the kernel may use, in bytes: the length, rounded up for direct reads.
    span: usize,
    /// How much is transferred, in bytes.
    done: usize,
    /// Whether the next attempt bypasses the page cache.
    direct: bool,
    buffer: PooledBuffer,
    owed: Owed,
}

/// The answer that the caller waits for. Dropped on the way, whatever the reason, it tells that the
/// request was lost.
struct Owed {
    in_flight: InFlight,
    tag: u64,
    offset: u64,
    length: usize,
    /// `None` once it is told.
    answer: Option<Sender<Completion>>,
}

/// What an attempt came to.
pub(super) enum Step {
    /// There is more to do.
    Again(Operation),
    Done(Answer),
}

/// A finished operation, not yet told.
pub(super) struct Answer {
    owed: Owed,
    result: io::Result<PooledBuffer>,
}

impl Answer {
    /// Tells the caller.
    pub(super) fn send(mut self) {
        self.owed.tell(self.result);
    }
}

impl Owed {
    fn tell(&mut self, result: io::Result<PooledBuffer>) {
        let Self { tag, offset, length, .. } = *self;
        if let Some(answer) = self.answer.take() {
            // A caller that has gone does not want to know.
            let _ = answer.send(Completion { tag, offset, length, result });
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.tell(Err(io::Error::other("the I/O engine lost the request")));
    }
}

impl Operation {
    /// `None` where the request needs no attempt; it is answered then.
    pub(super) fn new(
        in_flight: InFlight,
        direction: Direction,
        request: Request,
        answer: Sender<Completion>,
    ) -> Option<Self> {
        let Request { tag, offset, length, buffer } = request;
        let direct = in_flight.file().direct.is_direct();
        let rounded = direction == Direction::Read && direct;
        let span = if rounded { length.next_multiple_of(ALIGNMENT) } else { length };
        let fits = span <= buffer.len();
        let owed = Owed { in_flight, tag, offset, length, answer: Some(answer) };
        if fits && length > 0 {
            return Some(Self { direction, span, done: 0, direct, buffer, owed });
        }
        let result = if fits { Ok(buffer) } else { Err(io::ErrorKind::InvalidInput.into()) };
        Answer { owed, result }.send();
        None
    }

    pub(super) fn file(&self) -> &OpenFile {
        self.owed.in_flight.file()
    }

    pub(super) fn direction(&self) -> Direction {
        self.direction
    }

    /// Whether the next attempt bypasses the page cache.
    #[cfg(any(test, feature = "fault-injection"))]
    pub(super) fn is_direct(&self) -> bool {
        self.direct
    }

    /// Where in the file the next attempt begins, in bytes.
    pub(super) fn offset(&self) -> u64 {
        self.owed.offset + self.done as u64
    }

    /// The bytes of the next attempt.
    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer[self.done..self.span]
    }

    pub(super) fn rest_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.done..self.span]
    }

    /// One attempt by this thread, over at most `limit` bytes.
    pub(super) fn attempt(&mut self, limit: usize) -> io::Result<usize> {
        let (offset, end) = (self.offset(), self.span.min(self.done.saturating_add(limit)));
        let file = &self.owed.in_flight.file().direct;
        let bytes = &mut self.buffer[self.done..end];
        match self.direction {
            Direction::Read => file.read_at(bytes, offset),
            Direction::Write => file.write_at(bytes, offset),
        }
    }

    /// Judges what the kernel said to an attempt.
    pub(super) fn settle(mut self, attempt: io::Result<usize>) -> Step {
        match attempt {
            Ok(0) => {
                let ended = match self.direction {
                    Direction::Read => io::ErrorKind::UnexpectedEof,
                    Direction::Write => io::ErrorKind::WriteZero,
                };
                Step::Done(self.fail(ended.into()))
            }
            Ok(count) => {
                self.done += count;
                if self.done >= self.owed.length {
                    Step::Done(Answer { owed: self.owed, result: Ok(self.buffer) })
                } else if self.has_met_the_end() {
                    Step::Done(self.fail(io::ErrorKind::UnexpectedEof.into()))
                } else {
                    self.again()
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.again(),
            Err(error) if self.is_refused_alignment(&error) => {
                match self.file().direct.give_up_direct() {
                    Ok(()) => self.again(),
                    Err(_) => Step::Done(self.fail(error)),
                }
            }
            Err(error) => Step::Done(self.fail(error)),
        }
    }

    /// Ends it without another attempt.
    pub(super) fn fail(self, error: io::Error) -> Answer {
        Answer { owed: self.owed, result: Err(error) }
    }

    fn again(mut self) -> Step {
        self.direct = self.file().direct.is_direct();
        Step::Again(self)
    }

    /// A direct read that ends within a sector has met the end of the file.
    fn has_met_the_end(&self) -> bool {
        self.direction == Direction::Read
            && self.direct
            && !self.done.is_multiple_of(DirectFile::SECTOR_BYTES)
    }

    /// Some filesystems take O_DIRECT and then refuse what it is used for. Asked of this attempt, not
    /// of the file: another request's refusal may have turned that to the page cache meanwhile.
    fn is_refused_alignment(&self, error: &io::Error) -> bool {
        self.direct && error.raw_os_error() == Some(Errno::EINVAL as i32)
    }
}
