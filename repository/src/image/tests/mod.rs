//! Trees in memory, compared with what the plainest code makes of the same blocks.

mod based;
mod diff;
mod lookup;
mod memory;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::blobs::BlobSource;
use super::root::entry_blocks;
use super::{ImageBuilder, ImageRoot, node};
use crate::id::{BlobKind, Id};

pub(crate) use memory::MemoryBlobs;

const BLOCK_BYTES: u64 = 64 << 10;

/// An image as its blocks that are no holes. No two blocks have one id, so that neither have nodes.
#[derive(Clone, Debug)]
struct Sparse {
    total_bytes: u64,
    blocks: BTreeMap<u64, Id>,
}

impl Sparse {
    fn blocks(&self) -> u64 {
        self.total_bytes.div_ceil(BLOCK_BYTES)
    }

    fn id(&self, block: u64) -> Id {
        self.blocks.get(&block).copied().unwrap_or(Id::HOLE)
    }

    /// Makes runs of so many blocks data or holes.
    fn change(&mut self, runs: &[Run]) {
        for run in runs {
            for block in run.blocks(self.blocks()) {
                match run.content {
                    0 => self.blocks.remove(&block),
                    content => self.blocks.insert(block, block_id(block, content)),
                };
            }
        }
    }

    fn resize(&mut self, total_bytes: u64) {
        self.total_bytes = total_bytes;
        self.blocks.split_off(&self.blocks());
    }

    /// Stores it from all its blocks.
    fn store(&self, blobs: &MemoryBlobs) -> ImageRoot {
        let image = ImageRoot::new(Id::HOLE, self.total_bytes, 64 << 10).unwrap();
        let mut builder = ImageBuilder::new(blobs, image);
        let mut next = 0;
        for (&block, &id) in &self.blocks {
            builder.push_holes(block - next).unwrap();
            builder.push(id).unwrap();
            next = block + 1;
        }
        builder.push_holes(self.blocks() - next).unwrap();
        builder.finish().unwrap()
    }
}

/// Data in the first and last block, for trees of one to four levels.
fn of_every_height() -> [Sparse; 5] {
    [1, 128, 200, 20_000, 2_097_200].map(|blocks: u64| {
        let blocks = [0, blocks - 1].map(|block| (block, block_id(block, 1)));
        Sparse { total_bytes: (blocks[1].0 + 1) * BLOCK_BYTES, blocks: blocks.into() }
    })
}

fn block_id(block: u64, content: u8) -> Id {
    Id(*blake3::hash(&[&[content], &block.to_le_bytes()[..]].concat()).as_bytes())
}

/// Blocks from one of three places on; content 0 is a hole.
#[derive(Clone, Debug)]
struct Run {
    start: u64,
    length: u64,
    content: u8,
}

impl Run {
    /// Those that an image of so many blocks has.
    fn blocks(&self, of: u64) -> std::ops::Range<u64> {
        let start = self.start.checked_rem(of).unwrap_or(0);
        start..(start + self.length).min(of)
    }
}

/// Runs that are near each other, near the beginning, and far away.
fn runs(contents: std::ops::Range<u8>, count: usize) -> impl Strategy<Value = Vec<Run>> {
    let place = prop_oneof![0..300u64, 16_300..16_500u64, 2_096_000..2_097_500u64, any::<u64>()];
    let length = prop_oneof![4 => 1..4u64, 1 => 100..400u64];
    let run = (place, length, contents);
    let run = run.prop_map(|(start, length, content)| Run { start, length, content });
    proptest::collection::vec(run, 0..count)
}

/// Sizes around those where a tree gets higher; most end within a block.
fn total_bytes() -> impl Strategy<Value = u64> {
    let blocks = prop_oneof![
        0..3u64,
        100..300u64,
        16_300..16_500u64,
        20_000..40_000u64,
        2_097_000..2_097_300u64,
    ];
    let tail = prop_oneof![Just(0), 1..BLOCK_BYTES];
    (blocks, tail).prop_map(|(blocks, tail)| (blocks * BLOCK_BYTES).saturating_sub(tail))
}

fn sparse() -> impl Strategy<Value = Sparse> {
    (total_bytes(), runs(1..4, 12)).prop_map(|(total_bytes, runs)| {
        let mut image = Sparse { total_bytes, blocks: BTreeMap::new() };
        image.change(&runs);
        image
    })
}

/// A node's level, counted from the leaves, and its first block.
type Place = (usize, u64);

/// The nodes of a stored tree.
fn nodes(blobs: &MemoryBlobs, image: ImageRoot) -> BTreeMap<Place, Id> {
    let mut nodes = BTreeMap::new();
    let mut level = vec![(0, image.id())];
    for height in (0..image.depth()).rev() {
        level.retain(|(_, id)| !id.is_hole());
        nodes.extend(level.iter().map(|&(first, id)| ((height, first), id)));
        let ids: Vec<Id> = level.iter().map(|(_, id)| *id).collect();
        let bodies = blobs.read_blobs(BlobKind::ImageNode, 4096, &ids).unwrap();
        let children = level.iter().flat_map(|(first, id)| {
            let places = (0..).map(move |at| first + at * entry_blocks(height));
            places.zip(node::decode(&bodies[id]).unwrap())
        });
        level = children.collect();
    }
    nodes
}

/// The places of the nodes above these blocks in a tree of that depth.
fn places_above(blocks: &BTreeSet<u64>, depth: usize) -> BTreeSet<Place> {
    let span = |level| entry_blocks(level + 1);
    let above = |block: &u64| {
        let block = *block;
        (0..depth).map(move |level| (level, block - block % span(level)))
    };
    blocks.iter().flat_map(above).collect()
}
