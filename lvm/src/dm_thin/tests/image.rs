//! Metadata made in memory. Trees share what they have in common, as a pool's do.

use std::collections::{BTreeMap, HashMap};

use super::super::block::{BLOCK_BYTES, Block, BlockKind, seal};
use super::super::memory::MemoryBlocks;
use super::super::{Device, DeviceId, MetadataBlock, Root, ThinMetadata};

/// A volume: thin block → (data block, time).
pub(crate) type Volume = BTreeMap<u64, (u64, u32)>;

/// Metadata under construction. Block 0 is the superblock.
pub(crate) struct Image {
    pub(crate) blocks: Vec<Block>,
    /// Nodes that are there already, by what is in them.
    nodes: HashMap<Vec<u8>, MetadataBlock>,
    /// Device → root of its mappings, how many, and when it was made.
    devices: BTreeMap<u64, (MetadataBlock, u64, u32)>,
    chunk_sectors: u32,
    /// Of devices that are added from now on.
    pub(crate) creation_time: u32,
}

/// Where nodes end: a property of the keys, so that trees of one shape share their equal parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    /// How many entries a node has, about.
    pub(crate) entries: u64,
    /// Whether a parent's key can be lower than its child's first, as after a removal.
    pub(crate) slack: bool,
}

/// A number that depends on nothing else (the finaliser of SplitMix64).
pub(crate) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl Shape {
    fn ends_node(self, key: u64, height: u64, entries: usize, room: usize) -> bool {
        let least = if height == 0 { 1 } else { 2 };
        entries >= room
            || entries >= least
                && mix(key ^ mix(self.seed ^ height << 56)).is_multiple_of(self.entries)
    }
}

impl Image {
    pub(crate) fn new(chunk_sectors: u32) -> Self {
        let (nodes, devices) = Default::default();
        Self { blocks: vec![[0; BLOCK_BYTES]], nodes, devices, chunk_sectors, creation_time: 1 }
    }

    /// A node of values of any size, wherever it is already.
    pub(crate) fn node(&mut self, is_leaf: bool, entries: &[(u64, Vec<u8>)]) -> MetadataBlock {
        let block = node_bytes(is_leaf, entries);
        *self.nodes.entry(block.to_vec()).or_insert_with(|| {
            self.blocks.push(block);
            let at = MetadataBlock(self.blocks.len() as u64 - 1);
            seal(&mut self.blocks[at.0 as usize], BlockKind::Node, at);
            at
        })
    }

    /// A tree of values of any size.
    pub(crate) fn tree(&mut self, entries: Vec<(u64, Vec<u8>)>, shape: Shape) -> MetadataBlock {
        /// What a node of this height refers to: first key, last key below, value.
        type Entry = (u64, u64, Vec<u8>);
        let mut level: Vec<Entry> =
            entries.into_iter().map(|(key, value)| (key, key, value)).collect();
        for height in 0.. {
            let mut parents: Vec<Entry> = Vec::new();
            let mut node: Vec<(u64, Vec<u8>)> = Vec::new();
            let mut free_from = 0;
            let total = level.len();
            let room = room(level.first().map_or(8, |(_, _, value)| value.len()));
            for (index, (key, last, value)) in level.into_iter().enumerate() {
                node.push((key, value));
                if shape.ends_node(key, height, node.len(), room) || index + 1 == total {
                    let first = node[0].0;
                    let slack = if shape.slack { mix(first) % 4 } else { 0 };
                    let lowest = first.saturating_sub(slack).max(free_from);
                    let block = self.node(height == 0, &node);
                    parents.push((lowest, last, block.0.to_le_bytes().to_vec()));
                    free_from = last + 1;
                    node.clear();
                }
            }
            match &parents[..] {
                [] => return self.node(true, &[]),
                [(_, _, root)] => {
                    return MetadataBlock(u64::from_le_bytes(root[..].try_into().unwrap()));
                }
                _ => level = parents,
            }
        }
        unreachable!("every height has fewer nodes")
    }

    /// A device with these mappings.
    pub(crate) fn add(&mut self, id: u32, volume: &Volume, shape: Shape) {
        let value = |&(data, time): &(u64, u32)| (data << 24 | u64::from(time)).to_le_bytes();
        let entries = volume.iter().map(|(&thin, place)| (thin, value(place).to_vec())).collect();
        let root = self.tree(entries, shape);
        self.add_root(id, root, volume.len() as u64);
    }

    /// A device with this root.
    pub(crate) fn add_root(&mut self, id: u32, root: MetadataBlock, mapped: u64) {
        self.devices.insert(u64::from(id), (root, mapped, self.creation_time));
    }

    /// The root of a device that was added.
    pub(crate) fn root_of(&self, id: u32) -> MetadataBlock {
        self.devices[&u64::from(id)].0
    }

    /// The bytes, with the trees of devices and the superblock.
    pub(crate) fn bytes(mut self, shape: Shape) -> Vec<u8> {
        let roots =
            self.devices.iter().map(|(&id, (root, ..))| (id, root.0.to_le_bytes().to_vec()));
        let roots = roots.collect();
        let details = |(&id, (_, mapped, creation_time)): (&u64, &(MetadataBlock, u64, u32))| {
            let mut details = mapped.to_le_bytes().to_vec();
            details.extend(7_u64.to_le_bytes());
            details.extend(creation_time.to_le_bytes());
            details.extend(2_u32.to_le_bytes());
            (id, details)
        };
        let details = self.devices.iter().map(details).collect();
        let (mapping_root, details_root) = (self.tree(roots, shape), self.tree(details, shape));
        let block = &mut self.blocks[0];
        let mut put = |offset: usize, bytes: &[u8]| {
            block[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        put(32, &27_022_010_u64.to_le_bytes());
        put(40, &2_u32.to_le_bytes());
        put(44, &9_u32.to_le_bytes());
        put(48, &5_u64.to_le_bytes());
        put(320, &mapping_root.0.to_le_bytes());
        put(328, &details_root.0.to_le_bytes());
        put(336, &self.chunk_sectors.to_le_bytes());
        put(340, &8_u32.to_le_bytes());
        seal(block, BlockKind::Superblock, MetadataBlock(0));
        self.blocks.into_iter().flatten().collect()
    }

    /// The metadata, ready to be read.
    pub(crate) fn read(self, shape: Shape) -> ThinMetadata<MemoryBlocks> {
        let source = MemoryBlocks::new(self.bytes(shape));
        ThinMetadata::new(source, Root::Superblock).unwrap()
    }
}

/// How many entries a node has room for (`calc_max_entries` in the kernel's dm-btree.c).
fn room(value_bytes: usize) -> usize {
    (BLOCK_BYTES - 32) / (8 + value_bytes) / 3 * 3
}

/// A node's bytes, not sealed.
pub(crate) fn node_bytes(is_leaf: bool, entries: &[(u64, Vec<u8>)]) -> Block {
    let value_bytes = entries.first().map_or(8, |(_, value)| value.len());
    let max_entries = room(value_bytes);
    assert!(entries.len() <= max_entries);
    let mut block = [0; BLOCK_BYTES];
    let header = [if is_leaf { 2 } else { 1 }, 0, 0, entries.len(), max_entries, value_bytes];
    for (word, number) in header.into_iter().enumerate() {
        block[4 + word * 4..][..4].copy_from_slice(&u32::try_from(number).unwrap().to_le_bytes());
    }
    for (index, (key, value)) in entries.iter().enumerate() {
        block[32 + index * 8..][..8].copy_from_slice(&key.to_le_bytes());
        let offset = 32 + max_entries * 8 + index * value_bytes;
        block[offset..offset + value_bytes].copy_from_slice(value);
    }
    block
}

/// The device with that number.
pub(crate) fn device(metadata: &mut ThinMetadata<MemoryBlocks>, id: u32) -> Device {
    metadata.device(DeviceId::new(id).unwrap()).unwrap()
}
