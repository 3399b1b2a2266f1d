//! One node of a btree: header, then the keys, then, behind the room for as many keys as fit, the
//! values. The layout is `struct btree_node` in the kernel's persistent-data/dm-btree-internal.h.
//!
//! A node that opens is sound in itself and in its place: nothing of it lies outside of the block,
//! and its keys ascend within the range that its parent gives it. That range is what keeps hostile
//! trees from being endless: an internal node has a key, so it can be below one parent only.

use super::block::{self, BLOCK_BYTES, Block, BlockKind, u32_at, u64_at};
use super::error::{MetadataError, Problem};
use super::values::MetadataBlock;

const FLAGS: usize = 4;
const ENTRIES: usize = 16;
const MAX_ENTRIES: usize = 20;
const VALUE_SIZE: usize = 24;
const KEYS: usize = 32;

/// `enum node_flags`.
const INTERNAL: u32 = 1;
const LEAF: u32 = 2;

const KEY_BYTES: usize = 8;
/// An internal node's value is the block of a child.
const CHILD_BYTES: usize = 8;

/// The keys that may stand below a node, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyRange {
    pub(super) first: u64,
    pub(super) last: u64,
}

/// A node as its parent names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) block: MetadataBlock,
    pub(super) keys: KeyRange,
}

/// A node that was found sound.
#[derive(Debug)]
pub(super) struct Node {
    bytes: Box<Block>,
    place: Reference,
    is_leaf: bool,
    entries: usize,
    /// Where the values begin, in bytes.
    values: usize,
}

impl Node {
    /// Opens the block that was read for `place`, in a tree whose leaves have values of
    /// `value_bytes`.
    pub(super) fn open(
        bytes: Box<Block>,
        place: Reference,
        value_bytes: usize,
    ) -> Result<Self, MetadataError> {
        Self::parse(bytes, place, value_bytes).map_err(|problem| problem.at(place.block))
    }

    fn parse(bytes: Box<Block>, place: Reference, value_bytes: usize) -> Result<Self, Problem> {
        block::check(&bytes, BlockKind::Node, place.block)?;
        let is_leaf = match u32_at(&*bytes, FLAGS) {
            INTERNAL => false,
            LEAF => true,
            flags => return Err(Problem::NodeKind(flags)),
        };
        let (expected, found) =
            (if is_leaf { value_bytes } else { CHILD_BYTES }, u32_at(&*bytes, VALUE_SIZE));
        if usize::try_from(found) != Ok(expected) {
            return Err(Problem::ValueSize { found, expected });
        }
        let (entries, max_entries) = (u32_at(&*bytes, ENTRIES), u32_at(&*bytes, MAX_ENTRIES));
        let room = (BLOCK_BYTES - KEYS) / (KEY_BYTES + expected);
        let fits = entries <= max_entries && usize::try_from(max_entries).is_ok_and(|n| n <= room);
        if !fits {
            return Err(Problem::EntryCount { entries, max_entries });
        }
        if entries == 0 && !is_leaf {
            return Err(Problem::NoChildren);
        }
        let values = KEYS + max_entries as usize * KEY_BYTES;
        let node = Self { bytes, place, is_leaf, entries: entries as usize, values };
        node.check_keys()?;
        Ok(node)
    }

    fn check_keys(&self) -> Result<(), Problem> {
        let mut keys = (0..self.entries).map(|index| self.key(index));
        let Some(mut before) = keys.next() else { return Ok(()) };
        let KeyRange { first, last } = self.place.keys;
        if before < first {
            return Err(Problem::KeyRange { key: before, first, last });
        }
        for key in keys {
            if key <= before {
                return Err(Problem::KeyOrder { before, key });
            }
            before = key;
        }
        if before > last {
            return Err(Problem::KeyRange { key: before, first, last });
        }
        Ok(())
    }

    /// Whether it stands at the height of leaves.
    pub(super) fn check_height(&self, height: usize) -> Result<(), MetadataError> {
        if self.is_leaf == (height == 0) {
            return Ok(());
        }
        Err(Problem::Height { is_leaf: self.is_leaf }.at(self.place.block))
    }

    pub(super) fn place(&self) -> Reference {
        self.place
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.is_leaf
    }

    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// The key of the entry at `index`, which is below [`entries`](Self::entries).
    pub(super) fn key(&self, index: usize) -> u64 {
        u64_at(&*self.bytes, KEYS + index * KEY_BYTES)
    }

    /// The value of the entry at `index`, where values are of 8 bytes.
    pub(super) fn value(&self, index: usize) -> u64 {
        u64_at(&*self.bytes, self.values + index * 8)
    }

    /// The values from the entry at `index` on, `value_bytes` each, and whatever follows them.
    pub(super) fn value_bytes_from(&self, index: usize, value_bytes: usize) -> &[u8] {
        &self.bytes[self.values + index * value_bytes..]
    }

    /// The child at `index` of an internal node. Its keys begin at its own key in this node and
    /// end before the next one's; the last child's end where this node's do.
    pub(super) fn child(&self, index: usize) -> Reference {
        let last = match index + 1 {
            next if next < self.entries => self.key(next) - 1,
            _ => self.place.keys.last,
        };
        Reference {
            block: MetadataBlock(self.value(index)),
            keys: KeyRange { first: self.key(index), last },
        }
    }

    /// The first entry whose key is at least `key`; may be one past the last.
    pub(super) fn position(&self, key: u64) -> usize {
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low.midpoint(high);
            if self.key(middle) < key { low = middle + 1 } else { high = middle }
        }
        low
    }
}
