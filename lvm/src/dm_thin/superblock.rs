//! The superblock: where the trees begin, and the pool's own numbers. Its layout is
//! `struct thin_disk_superblock` in the kernel's dm-thin-metadata.c.

use super::block::{self, BLOCK_SECTORS, Block, BlockKind, u32_at, u64_at};
use super::error::Problem;
use super::values::{ChunkSize, MetadataBlock, PoolTime};

/// `THIN_SUPERBLOCK_MAGIC`.
pub(super) const MAGIC: u64 = 27_022_010;
/// `THIN_VERSION` is 2. No reader or writer of version 1 differs from it.
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=2;
/// `THIN_METADATA_NEEDS_CHECK_FLAG`, dm-thin-metadata.h.
const NEEDS_CHECK: u32 = 1;

const FLAGS: usize = 4;
pub(super) const MAGIC_NUMBER: usize = 32;
const VERSION: usize = 40;
const TIME: usize = 44;
const TRANSACTION_ID: usize = 48;
const HELD_ROOT: usize = 56;
/// The data space map's root begins with the number of data blocks (`struct disk_sm_root`). A
/// metadata snapshot has it wiped.
const DATA_BLOCKS: usize = 64;
const MAPPING_ROOT: usize = 320;
const DETAILS_ROOT: usize = 328;
const CHUNK_SECTORS: usize = 336;
const METADATA_BLOCK_SECTORS: usize = 340;
const INCOMPATIBLE_FEATURES: usize = 360;

/// What a superblock says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Over all the rest of it, so that it differs with whatever hangs from it.
    pub checksum: u32,
    /// The pool's time: that of the newest snapshot.
    pub time: PoolTime,
    /// LVM's transaction number.
    pub transaction_id: u64,
    /// The block with the superblock of the metadata snapshot, while one is held.
    pub held_root: Option<MetadataBlock>,
    /// The size of a chunk.
    pub chunk: ChunkSize,
    /// How many chunks the data device has; a metadata snapshot does not know.
    pub data_blocks: Option<u64>,
    /// Whether the pool asks to be checked before it is used again.
    pub needs_check: bool,
    /// Root of the tree from device to the root of its mappings.
    pub(super) mapping_root: MetadataBlock,
    /// Root of the tree from device to its details.
    pub(super) details_root: MetadataBlock,
}

impl Superblock {
    /// Parses the block that was read `at` that place.
    pub(super) fn parse(bytes: &Block, at: MetadataBlock) -> Result<Self, Problem> {
        // Before the checksum: it tells what is no metadata at all from what is damaged.
        let magic = u64_at(bytes, MAGIC_NUMBER);
        if magic != MAGIC {
            return Err(Problem::NoSuperblock(magic));
        }
        block::check(bytes, BlockKind::Superblock, at)?;
        let version = u32_at(bytes, VERSION);
        if !VERSIONS.contains(&version) {
            return Err(Problem::Version(version));
        }
        let features = u32_at(bytes, INCOMPATIBLE_FEATURES);
        if features != 0 {
            return Err(Problem::Features(features));
        }
        let block_sectors = u32_at(bytes, METADATA_BLOCK_SECTORS);
        if block_sectors != BLOCK_SECTORS {
            return Err(Problem::BlockSize(block_sectors));
        }
        let (chunk_sectors, time) = (u32_at(bytes, CHUNK_SECTORS), u32_at(bytes, TIME));
        Ok(Self {
            checksum: u32_at(bytes, block::CHECKSUM),
            time: PoolTime::new(time).ok_or(Problem::Time(time))?,
            transaction_id: u64_at(bytes, TRANSACTION_ID),
            held_root: non_zero(u64_at(bytes, HELD_ROOT)).map(MetadataBlock),
            chunk: ChunkSize::from_sectors(chunk_sectors)
                .ok_or(Problem::ChunkSize(chunk_sectors))?,
            data_blocks: non_zero(u64_at(bytes, DATA_BLOCKS)),
            needs_check: u32_at(bytes, FLAGS) & NEEDS_CHECK != 0,
            mapping_root: MetadataBlock(u64_at(bytes, MAPPING_ROOT)),
            details_root: MetadataBlock(u64_at(bytes, DETAILS_ROOT)),
        })
    }
}

fn non_zero(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}
