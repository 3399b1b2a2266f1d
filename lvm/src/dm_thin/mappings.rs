//! The mappings of one device, in the order of its chunks.

use super::error::MetadataError;
use super::fetch::Fetcher;
use super::node::Node;
use super::runs::Run;
use super::source::BlockSource;
use super::values::{DataBlock, PoolTime, ThinBlock};
use super::walk::Walk;

/// One chunk of a device that has a place in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mapping {
    /// Which chunk of the device.
    pub thin: ThinBlock,
    /// Which chunk of the pool's data.
    pub data: DataBlock,
    /// The pool's time when it was mapped.
    pub time: PoolTime,
}

/// Neighbouring chunks that are neighbours in the pool, too, mapped at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MappingRun {
    /// The first chunk.
    pub first: Mapping,
    /// How many chunks.
    pub chunks: u64,
}

/// A leaf and how far it has been read.
#[derive(Debug, Default)]
pub(super) struct LeafCursor {
    leaf: Option<Node>,
    next: usize,
}

/// Reads mappings while it is iterated; ends after the first error.
#[derive(Debug)]
pub struct Mappings<'a, S> {
    fetch: &'a mut Fetcher<S>,
    walk: Walk,
    leaf: LeafCursor,
    ended: bool,
}

impl Mapping {
    /// A mapping's value: the time in the low 24 bits, the block above (`unpack_block_time` in
    /// the kernel's dm-thin-metadata.c).
    fn unpack(thin: u64, value: u64) -> Self {
        const TIME_BITS: u32 = 24;
        // 24 bits always fit.
        let time = u32::try_from(value & ((1 << TIME_BITS) - 1)).ok().and_then(PoolTime::new);
        Self {
            thin: ThinBlock(thin),
            data: DataBlock(value >> TIME_BITS),
            time: time.unwrap_or_default(),
        }
    }
}

impl Run for MappingRun {
    fn join(&mut self, next: &Self) -> bool {
        let follows = self.first.thin.0 + self.chunks == next.first.thin.0
            && self.first.data.0 + self.chunks == next.first.data.0
            && self.first.time == next.first.time;
        if follows {
            self.chunks += next.chunks;
        }
        follows
    }
}

impl From<Mapping> for MappingRun {
    fn from(first: Mapping) -> Self {
        Self { first, chunks: 1 }
    }
}

impl LeafCursor {
    /// Turns to another leaf. The last one has been read to its end.
    pub(super) fn turn_to(&mut self, leaf: Node) {
        debug_assert!(self.front().is_none(), "the last one is not at its end");
        *self = Self { leaf: Some(leaf), next: 0 };
    }

    /// The next mapping of this leaf.
    pub(super) fn front(&self) -> Option<Mapping> {
        let leaf = self.leaf.as_ref()?;
        (self.next < leaf.entries())
            .then(|| Mapping::unpack(leaf.key(self.next), leaf.value(self.next)))
    }

    pub(super) fn advance(&mut self) {
        self.next += 1;
    }
}

impl<'a, S: BlockSource> Mappings<'a, S> {
    pub(super) fn new(fetch: &'a mut Fetcher<S>, walk: Walk) -> Self {
        Self { fetch, walk, leaf: LeafCursor::default(), ended: false }
    }

    fn step(&mut self) -> Result<Option<Mapping>, MetadataError> {
        loop {
            if let Some(mapping) = self.leaf.front() {
                self.leaf.advance();
                return Ok(Some(mapping));
            }
            let Some((_, leaf)) = self.walk.next_leaf(self.fetch)? else { return Ok(None) };
            self.leaf.turn_to(leaf);
        }
    }
}

impl<S: BlockSource> Iterator for Mappings<'_, S> {
    type Item = Result<Mapping, MetadataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.step().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}
