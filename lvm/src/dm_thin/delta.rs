//! What two devices of one pool differ in, chunk by chunk.
//!
//! Two devices that have the same chunk of the pool at the same place have the same bytes there at
//! that moment; when it was mapped does not matter.

use super::error::MetadataError;
use super::fetch::Fetcher;
use super::mappings::{LeafCursor, Mapping};
use super::source::BlockSource;
use super::values::ThinBlock;
use super::walk::{Side, Walk};

/// What became of a chunk on the way from one device to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// It is mapped, and elsewhere than it was or newly.
    Written,
    /// It was mapped and is no longer: it reads as zeroes.
    Discarded,
}

/// A chunk that two devices do not have at the same place: what each of them has, not both nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Difference {
    pub(crate) thin: ThinBlock,
    pub(crate) left: Option<Mapping>,
    pub(crate) right: Option<Mapping>,
}

impl Difference {
    /// What became of the chunk on the way from left to right.
    pub(super) fn change(&self) -> Change {
        if self.right.is_some() { Change::Written } else { Change::Discarded }
    }
}

/// Compares while it is iterated; ends after the first error.
#[derive(Debug)]
pub(crate) struct Differences<'a, S> {
    fetch: &'a mut Fetcher<S>,
    walk: Walk,
    left: LeafCursor,
    right: LeafCursor,
    ended: bool,
}

impl<'a, S: BlockSource> Differences<'a, S> {
    /// From the left tree of `walk` to its right one.
    pub(super) fn new(fetch: &'a mut Fetcher<S>, walk: Walk) -> Self {
        let (left, right) = Default::default();
        Self { fetch, walk, left, right, ended: false }
    }

    fn step(&mut self) -> Result<Option<Difference>, MetadataError> {
        loop {
            // Leaves that are not open yet begin at this chunk.
            let others_begin = self.walk.next_leaf_begins(self.fetch)?;
            let is_open = |thin: ThinBlock| others_begin.is_none_or(|others| thin.0 < others);
            // As far as that, the two leaves hold all there is.
            loop {
                let (left, right) = (self.left.front(), self.right.front());
                let Some(thin) = left.iter().chain(&right).map(|mapping| mapping.thin).min() else {
                    break;
                };
                if !is_open(thin) {
                    break;
                }
                let [left, right] = [left, right].map(|side| side.filter(|m| m.thin == thin));
                if left.is_some() {
                    self.left.advance();
                }
                if right.is_some() {
                    self.right.advance();
                }
                match (left, right) {
                    (Some(left), Some(right)) if left.data == right.data => {}
                    (left, right) => return Ok(Some(Difference { thin, left, right })),
                }
            }
            match self.walk.next_leaf(self.fetch)? {
                Some((Side::Left, leaf)) => self.left.turn_to(leaf),
                Some((Side::Right, leaf)) => self.right.turn_to(leaf),
                None => return Ok(None),
            }
        }
    }
}

impl<S: BlockSource> Iterator for Differences<'_, S> {
    type Item = Result<Difference, MetadataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.step().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}
