//! Hostile metadata: an input becomes an image whose blocks all have the right checksums, and all
//! that can be asked of it is asked and compared.
//!
//! An input is a list of patches onto zeroes, so that real metadata packs into little and a change
//! of a byte of it means something: block (1 byte), offset (2, little-endian), length (1), bytes.

use super::block::{BLOCK_BYTES, Block, BlockKind, seal, u64_at};
use super::delta::Change;
use super::memory::MemoryBlocks;
use super::superblock::{MAGIC, MAGIC_NUMBER};
use super::values::MetadataBlock;
use super::{Device, Extent, Mapping, MetadataError, PoolTime, Root, ThinMetadata};
use crate::units::Bytes;

/// Blocks of an image at most.
const BLOCKS: usize = 64;
/// Devices that are looked at.
const DEVICES: usize = 4;
/// What a walk of so few blocks may read at most: every entry of every internal node once, and the
/// way to the leaves.
const MOST_READS: u64 = BLOCKS as u64 * 255;

/// Reads the metadata that `input` makes in every way there is, and says how many mappings that
/// are, 0 where it cannot be read.
///
/// # Panics
/// When answers contradict each other, or take more reads than any tree of that size is worth.
#[allow(clippy::panic)]
pub fn read_all(input: &[u8]) -> usize {
    let source = MemoryBlocks::new(unpack(input));
    let reads = source.counter();
    let Ok(mut metadata) = ThinMetadata::new(source, Root::HeldIfAny) else { return 0 };
    let Ok(mut devices) = metadata.devices_after(None) else { return 0 };
    devices.truncate(DEVICES);
    let since = PoolTime::new(2).unwrap_or_default();
    let mapped: Vec<_> =
        devices.iter().map(|device| mappings_and_extents(&mut metadata, device, since)).collect();
    for (from, left) in devices.iter().zip(&mapped) {
        assert_eq!(metadata.device(from.id).ok().as_ref(), Some(from));
        for (to, right) in devices.iter().zip(&mapped) {
            let before = reads.get();
            let found = changed_chunks(&mut metadata, from, to);
            assert!(reads.get() - before <= 2 * MOST_READS, "a comparison that runs on");
            if let (Ok(left), Ok(right)) = (left, right) {
                match found {
                    Ok(found) => assert_eq!(found, compare(left, right)),
                    Err(error) => panic!("{error} where both trees can be read"),
                }
            }
        }
    }
    // Each device was walked three times.
    assert!(reads.get() <= 6 * MOST_READS * (DEVICES * DEVICES) as u64, "a walk that runs on");
    mapped.iter().flatten().map(Vec::len).sum()
}

fn mappings_and_extents(
    metadata: &mut ThinMetadata<MemoryBlocks>,
    device: &Device,
    since: PoolTime,
) -> Result<Vec<Mapping>, MetadataError> {
    let mappings: Vec<Mapping> = metadata.mappings(device)?.collect::<Result<_, _>>()?;
    assert!(mappings.is_sorted_by(|a, b| a.thin < b.thin));
    let chunks = |wanted: &dyn Fn(&Mapping) -> bool| -> Vec<u64> {
        mappings.iter().filter(|mapping| wanted(mapping)).map(|mapping| mapping.thin.0).collect()
    };
    let size = metadata.superblock().chunk.bytes().0;
    let everything = Bytes(0)..Bytes(u64::MAX);
    let chunks_of = |extent: Extent| {
        let first = extent.offset.0 / size;
        first..first + extent.length.0 / size
    };
    let mut all = Vec::new();
    for extent in metadata.mapped(device, everything.clone())? {
        all.extend(chunks_of(extent?));
    }
    assert_eq!(all, chunks(&|_| true));
    let mut changed = Vec::new();
    for extent in metadata.changed_since(device, since, everything)? {
        changed.extend(chunks_of(extent?));
    }
    assert_eq!(changed, chunks(&|mapping| mapping.time >= since));
    Ok(mappings)
}

fn changed_chunks(
    metadata: &mut ThinMetadata<MemoryBlocks>,
    from: &Device,
    to: &Device,
) -> Result<Vec<(u64, Change)>, MetadataError> {
    let size = metadata.superblock().chunk.bytes().0;
    let mut found = Vec::new();
    for changed in metadata.delta(from, to, Bytes(0)..Bytes(u64::MAX))? {
        let changed = changed?;
        let first = changed.extent.offset.0 / size;
        let chunks = first..first + changed.extent.length.0 / size;
        found.extend(chunks.map(|chunk| (chunk, changed.change)));
    }
    Ok(found)
}

/// What differs, by looking at everything. Both are in order.
pub(super) fn compare(left: &[Mapping], right: &[Mapping]) -> Vec<(u64, Change)> {
    let find = |side: &[Mapping], mapping: &Mapping| {
        let index = side.binary_search_by_key(&mapping.thin, |other| other.thin);
        index.ok().map(|index| side[index].data)
    };
    let written = right
        .iter()
        .filter(|mapping| find(left, mapping) != Some(mapping.data))
        .map(|mapping| (mapping.thin.0, Change::Written));
    let discarded = left
        .iter()
        .filter(|mapping| find(right, mapping).is_none())
        .map(|mapping| (mapping.thin.0, Change::Discarded));
    let mut all: Vec<_> = written.chain(discarded).collect();
    all.sort_unstable();
    all
}

/// The image that patches make.
pub(super) fn unpack(mut input: &[u8]) -> Vec<u8> {
    let mut blocks: Vec<Block> = vec![[0; BLOCK_BYTES]];
    while let Some(([block, low, high, length], rest)) = input.split_first_chunk() {
        let block = usize::from(*block) % BLOCKS;
        let offset = usize::from(u16::from_le_bytes([*low, *high])) % BLOCK_BYTES;
        let length = usize::from(*length).min(rest.len()).min(BLOCK_BYTES - offset);
        if block >= blocks.len() {
            blocks.resize(block + 1, [0; BLOCK_BYTES]);
        }
        blocks[block][offset..offset + length].copy_from_slice(&rest[..length]);
        input = &rest[length..];
    }
    for (block, number) in blocks.iter_mut().zip(0..) {
        seal_by_kind(block, MetadataBlock(number));
    }
    blocks.into_iter().flatten().collect()
}

/// Packs the first blocks of an image; checksums and numbers are left out.
pub fn pack(image: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    for (block, number) in image.as_chunks::<BLOCK_BYTES>().0.iter().zip(0..).take(BLOCKS) {
        let mut offset = 4;
        while offset < BLOCK_BYTES {
            if block[offset] == 0 || (8..16).contains(&offset) {
                offset += 1;
                continue;
            }
            let rest = &block[offset..];
            // A short gap costs less than another patch.
            let gap = rest.windows(8).position(|bytes| bytes == [0; 8]);
            let to_number = if offset < 8 { 8 - offset } else { usize::from(u8::MAX) };
            let length = gap.unwrap_or(rest.len()).clamp(1, to_number);
            let [low, high, ..] = offset.to_le_bytes();
            packed.extend([number, low, high, length.to_le_bytes()[0]]);
            packed.extend(&rest[..length]);
            offset += length;
        }
    }
    packed
}

/// Seals a block as what it looks like.
pub(super) fn seal_by_kind(block: &mut Block, at: MetadataBlock) {
    let is_superblock = u64_at(&*block, MAGIC_NUMBER) == MAGIC;
    seal(block, if is_superblock { BlockKind::Superblock } else { BlockKind::Node }, at);
}
