//! Blocks asked for one by one, read sorted and in runs.
//!
//! A caller asks for the blocks it will want and later takes them in whatever order suits it. In
//! between, everything asked for is sorted by its place on the device and neighbours become one
//! read. What is asked for and not yet taken is held here: callers bound it by asking for no more
//! than a window ahead.

use std::collections::{HashMap, VecDeque};
use std::io;

use super::block::{BLOCK_BYTES, Block};
use super::error::{MetadataError, Problem};
use super::source::{BlockSource, MAX_RUN_BLOCKS};
use super::values::MetadataBlock;

/// So many blocks that nobody wants are read along between two that are, rather than beginning
/// another read: a few KiB more cost less than a request.
const MAX_GAP_BLOCKS: u64 = 2;

/// Stands for a block that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ticket(u64);

/// Reads blocks of `S`.
#[derive(Debug)]
pub(super) struct Fetcher<S> {
    source: S,
    next_ticket: u64,
    /// Asked for since the last [`flush`](Self::flush).
    asked: Vec<Wanted>,
    /// Waiting for room in the source.
    waiting: VecDeque<Run>,
    /// Being read, by the tag of the read. Reads of an abandoned caller are not in here.
    reading: HashMap<u64, Run>,
    in_flight: usize,
    next_tag: u64,
    arrived: HashMap<Ticket, io::Result<Box<Block>>>,
}

/// By place first, so that sorting brings neighbours together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    block: MetadataBlock,
    ticket: Ticket,
}

/// Blocks read in one go; `wanted` is sorted and neither empty nor of more than the most blocks.
#[derive(Debug)]
struct Run {
    wanted: Vec<Wanted>,
}

impl<S: BlockSource> Fetcher<S> {
    pub(super) fn new(source: S) -> Self {
        Self {
            source,
            next_ticket: 0,
            asked: Vec::new(),
            waiting: VecDeque::new(),
            reading: HashMap::new(),
            in_flight: 0,
            next_tag: 0,
            arrived: HashMap::new(),
        }
    }

    /// How many blocks have been asked for.
    pub(super) fn asked(&self) -> u64 {
        self.next_ticket
    }

    /// Forgets what was asked for and not taken.
    pub(super) fn abandon(&mut self) {
        self.asked.clear();
        self.waiting.clear();
        self.reading.clear();
        self.arrived.clear();
    }

    /// Asks for a block; its read begins with the next [`flush`](Self::flush).
    pub(super) fn ask(&mut self, block: MetadataBlock) -> Result<Ticket, MetadataError> {
        if block.0 >= self.source.block_count() {
            return Err(Problem::PastTheEnd.at(block));
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.asked.push(Wanted { block, ticket });
        Ok(ticket)
    }

    /// Begins to read what was asked for, as far as the source has room; the rest follows when a
    /// read finishes.
    pub(super) fn flush(&mut self) {
        self.asked.sort_unstable();
        for wanted in self.asked.drain(..) {
            match self.waiting.back_mut() {
                Some(run) if run.takes(wanted.block) => run.wanted.push(wanted),
                _ => self.waiting.push_back(Run { wanted: vec![wanted] }),
            }
        }
        self.begin_reads();
    }

    /// The block that a ticket stands for, waiting for it.
    pub(super) fn take(
        &mut self,
        ticket: Ticket,
        block: MetadataBlock,
    ) -> Result<Box<Block>, MetadataError> {
        self.flush();
        loop {
            if let Some(bytes) = self.arrived.remove(&ticket) {
                return bytes.map_err(|source| MetadataError::Read { block, source });
            }
            if self.in_flight == 0 {
                let source = io::Error::other("it was not asked for");
                return Err(MetadataError::Read { block, source });
            }
            self.receive();
        }
    }

    /// Reads one block and waits for it.
    pub(super) fn read(&mut self, block: MetadataBlock) -> Result<Box<Block>, MetadataError> {
        let ticket = self.ask(block)?;
        self.take(ticket, block)
    }

    fn begin_reads(&mut self) {
        while self.source.has_room()
            && let Some(run) = self.waiting.pop_front()
        {
            self.source.begin(self.next_tag, run.first(), run.blocks());
            self.reading.insert(self.next_tag, run);
            self.next_tag += 1;
            self.in_flight += 1;
        }
    }

    fn receive(&mut self) {
        let (tag, result) = self.source.finish();
        self.in_flight -= 1;
        match (self.reading.remove(&tag), result) {
            (None, _) => {}
            (Some(run), Ok(bytes)) => self.hand_out(&run, &bytes),
            (Some(run), Err(error)) => self.retry_or_fail(run, error),
        }
        self.begin_reads();
    }

    fn hand_out(&mut self, run: &Run, bytes: &[u8]) {
        let (blocks, _) = bytes.as_chunks::<BLOCK_BYTES>();
        for wanted in &run.wanted {
            let index = usize::try_from(wanted.block.0 - run.first().0).unwrap_or(usize::MAX);
            let block = blocks.get(index).map(|block| Box::new(*block));
            let block = block.ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
            self.arrived.insert(wanted.ticket, block);
        }
    }

    /// A fault in one block does not keep its neighbours from being read.
    fn retry_or_fail(&mut self, run: Run, error: io::Error) {
        if run.blocks() > 1 {
            let single = |wanted| Run { wanted: vec![wanted] };
            self.waiting.extend(run.wanted.into_iter().map(single));
            return;
        }
        let again = |error: &io::Error| match error.raw_os_error() {
            Some(number) => io::Error::from_raw_os_error(number),
            None => error.kind().into(),
        };
        for wanted in run.wanted {
            self.arrived.insert(wanted.ticket, Err(again(&error)));
        }
    }
}

impl Run {
    fn first(&self) -> MetadataBlock {
        self.wanted.first().map_or(MetadataBlock(0), |wanted| wanted.block)
    }

    fn last(&self) -> MetadataBlock {
        self.wanted.last().map_or(MetadataBlock(0), |wanted| wanted.block)
    }

    fn blocks(&self) -> usize {
        usize::try_from(self.last().0 - self.first().0).unwrap_or(0) + 1
    }

    /// Whether `block` may be read along: just behind the last, or the last once more.
    fn takes(&self, block: MetadataBlock) -> bool {
        let Some(step) = block.0.checked_sub(self.last().0) else { return false };
        step <= MAX_GAP_BLOCKS + 1 && block.0 - self.first().0 < MAX_RUN_BLOCKS as u64
    }
}
