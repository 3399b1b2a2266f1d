//! An image's root and sizes.

use super::{FANOUT, TreeKind};
use crate::error::{Error, Result};
use crate::id::Id;

/// The usual image block.
pub const BLOCK_BYTES_DEFAULT: u32 = 256 << 10;

const BLOCK_BYTES: std::ops::RangeInclusive<u32> = (64 << 10)..=(8 << 20);

/// Whether images can have blocks of so many bytes.
///
/// # Errors
/// `InvalidInput`, which names the bounds.
pub fn check_block_bytes(block_bytes: u32) -> Result<()> {
    if block_bytes.is_power_of_two() && BLOCK_BYTES.contains(&block_bytes) {
        return Ok(());
    }
    Err(Error::InvalidInput(format!(
        "an image block of {block_bytes} bytes is not a power of two from 64 KiB to 8 MiB"
    )))
}

/// A whole image: the id of its tree's root and its sizes, within the format's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageRoot {
    kind: TreeKind,
    id: Id,
    total_bytes: u64,
    block_bytes: u32,
}

impl ImageRoot {
    pub(crate) fn new(id: Id, total_bytes: u64, block_bytes: u32) -> Result<Self> {
        check_block_bytes(block_bytes)?;
        if total_bytes > i64::MAX as u64 {
            return Err(Error::InvalidInput(format!("an image cannot have {total_bytes} bytes")));
        }
        Ok(Self { kind: TreeKind::Image, id, total_bytes, block_bytes })
    }

    /// The same for blocks of another kind.
    pub(crate) fn of_kind(self, kind: TreeKind) -> Self {
        Self { kind, ..self }
    }

    pub(crate) fn kind(&self) -> TreeKind {
        self.kind
    }

    /// The root; the hole for an image of zeroes.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Size of the image.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The image's unit.
    pub fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// Number of blocks; the last may be shorter than the others.
    pub fn blocks(&self) -> u64 {
        self.total_bytes.div_ceil(u64::from(self.block_bytes))
    }

    /// Length of a block in bytes: of the last one the rest of the image, behind it nothing.
    pub fn block_length(&self, block: u64) -> u32 {
        let start = block.saturating_mul(u64::from(self.block_bytes));
        let rest = self.total_bytes.saturating_sub(start);
        u32::try_from(rest).unwrap_or(u32::MAX).min(self.block_bytes)
    }

    pub(crate) fn with_id(self, id: Id) -> Self {
        Self { id, ..self }
    }

    /// Levels of the tree, at least one.
    pub(super) fn depth(&self) -> usize {
        (1..).find(|&depth| entry_blocks(depth) >= self.blocks()).unwrap_or(1)
    }
}

/// Blocks below one entry of a node of `level`, counted from the leaves, which are 0. So a tree of
/// depth d has room for `entry_blocks(d)` blocks. No overflow: images have at most 2^47 blocks.
pub(super) fn entry_blocks(level: usize) -> u64 {
    let level = u32::try_from(level).unwrap_or(u32::MAX);
    (FANOUT as u64).saturating_pow(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(total_bytes: u64) -> ImageRoot {
        ImageRoot::new(Id::HOLE, total_bytes, 64 << 10).unwrap()
    }

    #[test]
    fn depth_is_the_least_that_spans_all_blocks() {
        let block = 64 << 10;
        for (blocks, depth) in [(0, 1), (1, 1), (128, 1), (129, 2), (16384, 2), (16385, 3)] {
            assert_eq!(root(blocks * block).depth(), depth, "{blocks} blocks");
        }
        assert_eq!(root(i64::MAX as u64).depth(), 7);
    }

    #[test]
    fn the_last_block_holds_the_rest() {
        let image = root((64 << 10) + 5);
        assert_eq!([0, 1, 2].map(|block| image.block_length(block)), [64 << 10, 5, 0]);
        assert_eq!(image.blocks(), 2);
    }
}
