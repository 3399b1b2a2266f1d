//! A request on its way: what is left of it to transfer, and how each attempt is judged. All
//! engines go through this, so that they differ in nothing but who calls the kernel.

use std::io;

use crossbeam_channel::Sender;
use nix::errno::Errno;

use super::file::{Completion, InFlight, OpenFile, Request};
use crate::{ALIGNMENT, DirectFile};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

pub(super) struct Operation {
    in_flight: InFlight,
    direction: Direction,
    request: Request,
    /// How much of the buffer the kernel may use, in bytes: the length, rounded up for direct reads.
    span: usize,
    /// How much is transferred, in bytes.
    done: usize,
    answer: Sender<Completion>,
}

/// What an attempt came to.
pub(super) enum Step {
    /// There is more to do.
    Again(Operation),
    Done(Answer),
}

/// A finished operation, not yet told.
pub(super) struct Answer {
    completion: Completion,
    answer: Sender<Completion>,
    _in_flight: InFlight,
}

impl Answer {
    /// Tells the caller; one that has gone does not want to know.
    pub(super) fn send(self) {
        let _ = self.answer.send(self.completion);
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
        let rounded = direction == Direction::Read && in_flight.file().direct.is_direct();
        let length = request.length;
        let span = if rounded { length.next_multiple_of(ALIGNMENT) } else { length };
        let fits = span <= request.buffer.len();
        let operation = Self { in_flight, direction, request, span, done: 0, answer };
        if fits && length > 0 {
            return Some(operation);
        }
        let result = if fits { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) };
        operation.finish(result).send();
        None
    }

    pub(super) fn file(&self) -> &OpenFile {
        self.in_flight.file()
    }

    pub(super) fn direction(&self) -> Direction {
        self.direction
    }

    /// Where in the file the next attempt begins, in bytes.
    pub(super) fn offset(&self) -> u64 {
        self.request.offset + self.done as u64
    }

    /// The bytes of the next attempt.
    pub(super) fn rest(&self) -> &[u8] {
        &self.request.buffer[self.done..self.span]
    }

    pub(super) fn rest_mut(&mut self) -> &mut [u8] {
        &mut self.request.buffer[self.done..self.span]
    }

    /// One attempt by this thread, over at most `limit` bytes.
    pub(super) fn attempt(&mut self, limit: usize) -> io::Result<usize> {
        let (offset, end) = (self.offset(), self.span.min(self.done.saturating_add(limit)));
        let file = &self.in_flight.file().direct;
        let bytes = &mut self.request.buffer[self.done..end];
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
                Step::Done(self.finish(Err(ended.into())))
            }
            Ok(count) => {
                self.done += count;
                if self.done < self.request.length && self.may_go_on() {
                    return Step::Again(self);
                }
                let whole = self.done >= self.request.length;
                let ended = || io::ErrorKind::UnexpectedEof.into();
                Step::Done(self.finish(whole.then_some(()).ok_or_else(ended)))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Step::Again(self),
            Err(error) if self.is_refused_alignment(&error) => {
                match self.file().direct.give_up_direct() {
                    Ok(()) => Step::Again(self),
                    Err(_) => Step::Done(self.finish(Err(error))),
                }
            }
            Err(error) => Step::Done(self.finish(Err(error))),
        }
    }

    /// A direct read that ends within a sector has met the end of the file.
    fn may_go_on(&self) -> bool {
        !self.file().direct.is_direct() || self.done.is_multiple_of(DirectFile::SECTOR_BYTES)
    }

    /// Some filesystems take O_DIRECT and then refuse what it is used for.
    fn is_refused_alignment(&self, error: &io::Error) -> bool {
        error.raw_os_error() == Some(Errno::EINVAL as i32) && self.file().direct.is_direct()
    }

    fn finish(self, result: io::Result<()>) -> Answer {
        let Request { tag, offset, length, buffer } = self.request;
        let completion = Completion { tag, offset, length, buffer, result };
        Answer { completion, answer: self.answer, _in_flight: self.in_flight }
    }
}
