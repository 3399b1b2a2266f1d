//! One 4 KiB block of metadata as it is on disk: its fields, and the checks that every kind of
//! block has in common.
//!
//! Each begins with a checksum of all that follows it, mixed with a number of its kind, and says
//! which block it is, so that a block of another kind, an old one elsewhere or a torn one shows.

use super::error::Problem;
use super::values::MetadataBlock;

/// Bytes in a metadata block (`THIN_METADATA_BLOCK_SIZE` in the kernel's dm-thin-metadata.h).
pub(super) const BLOCK_BYTES: usize = 4096;

/// The same in 512-byte sectors, as the superblock has it.
pub(super) const BLOCK_SECTORS: u32 = 8;

/// The bytes of a block.
pub(super) type Block = [u8; BLOCK_BYTES];

/// Kinds of blocks, as numbers mixed into their checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum BlockKind {
    /// `SUPERBLOCK_CSUM_XOR`, dm-thin-metadata.c.
    Superblock = 160_774,
    /// `BTREE_CSUM_XOR`, persistent-data/dm-btree-spine.c.
    Node = 121_107,
}

/// Where the checksum is, and where what it covers begins.
pub(super) const CHECKSUM: usize = 0;
const CHECKED: usize = 4;
/// Where a block says which it is.
const NUMBER: usize = 8;

/// Checks that `block` is the one `at` that place, unaltered and of that kind.
pub(super) fn check(block: &Block, kind: BlockKind, at: MetadataBlock) -> Result<(), Problem> {
    let (stored, computed) = (u32_at(block, CHECKSUM), checksum(block, kind));
    if stored != computed {
        return Err(Problem::Checksum { stored, computed });
    }
    match u64_at(block, NUMBER) {
        number if number == at.0 => Ok(()),
        other => Err(Problem::Misplaced(other)),
    }
}

/// `dm_bm_checksum` of persistent-data/dm-block-manager.c: the kernel's crc32c() leaves out the
/// final inversion that others do.
pub(super) fn checksum(block: &Block, kind: BlockKind) -> u32 {
    !crc32c::crc32c(&block[CHECKED..]) ^ kind as u32
}

/// The little-endian number at `offset`; the caller's offsets are constants within a block.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    bytes[offset..].first_chunk().copied().map_or(0, u32::from_le_bytes)
}

/// As [`u32_at`].
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes[offset..].first_chunk().copied().map_or(0, u64::from_le_bytes)
}

/// Writes the number and the checksum that the rest of the block calls for.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn seal(block: &mut Block, kind: BlockKind, at: MetadataBlock) {
    block[NUMBER..NUMBER + 8].copy_from_slice(&at.0.to_le_bytes());
    let checksum = checksum(block, kind);
    block[CHECKSUM..CHECKED].copy_from_slice(&checksum.to_le_bytes());
}
