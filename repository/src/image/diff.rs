//! Comparing two trees.

use std::collections::VecDeque;

use super::blobs::BlobSource;
use super::root::ImageRoot;
use super::tree::{Node, Tree};
use crate::error::{Error, Result};
use crate::id::Id;

/// A block that is not the same in two images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedBlock {
    /// Its number.
    pub block: u64,
    /// What it is in the first image; [`Id::HOLE`] for zeroes, and behind the image's end.
    pub before: Id,
    /// What it is in the second.
    pub after: Id,
}

/// Gives the blocks in which two images differ, in order. What both share is not read. Holds at
/// most one node's children of each image for each level.
pub struct ImageDiff<'i> {
    before: Tree<'i>,
    after: Tree<'i>,
    /// Nodes that differ and were not yet compared entry by entry, leaves first.
    levels: Vec<VecDeque<(Node, Node)>>,
    is_begun: bool,
    /// Of the leaves that are being compared.
    changes: VecDeque<ChangedBlock>,
}

impl<'i> ImageDiff<'i> {
    /// Both of one domain, whose ids can be compared.
    pub(crate) fn new(
        before: (&'i dyn BlobSource, ImageRoot),
        after: (&'i dyn BlobSource, ImageRoot),
    ) -> Result<Self> {
        let [first, second] = [before.1, after.1].map(|root| root.block_bytes());
        if first != second {
            return Err(Error::InvalidInput(format!(
                "images in blocks of {first} and of {second} bytes cannot be compared"
            )));
        }
        let depth = before.1.depth().max(after.1.depth());
        Ok(Self {
            before: Tree::new(before.0, before.1),
            after: Tree::new(after.0, after.1),
            levels: (0..depth).map(|_| VecDeque::new()).collect(),
            is_begun: false,
            changes: VecDeque::new(),
        })
    }

    /// The next changed blocks, at least one and at most `max_blocks` (at least 1); `None` behind
    /// the last.
    ///
    /// # Errors
    /// What reading a node can meet; the comparison cannot go on then.
    pub fn next_window(&mut self, max_blocks: usize) -> Result<Option<Vec<ChangedBlock>>> {
        let mut window = Vec::new();
        while window.len() < max_blocks.max(1) {
            if self.changes.is_empty() {
                self.fill(0)?;
                let Some((before, after)) = self.levels[0].pop_front() else { break };
                self.changes = differences(0, &before, &after).collect();
            }
            window.extend(self.changes.pop_front());
        }
        Ok((!window.is_empty()).then_some(window))
    }

    /// Sees to nodes that differ at `level` (leaves are 0) if there are more.
    fn fill(&mut self, level: usize) -> Result<()> {
        // More than once only above the lower of two trees, where nodes can differ in nothing.
        while self.levels[level].is_empty() {
            let Some(differing) = self.next_differing(level)? else { break };
            let load = |tree: &Tree<'_>, id: fn(&ChangedBlock) -> Id| {
                let nodes: Vec<_> = differing.iter().map(|pair| (pair.block, id(pair))).collect();
                tree.load(level, &nodes)
            };
            let before = load(&self.before, |pair| pair.before)?;
            let after = load(&self.after, |pair| pair.after)?;
            self.levels[level] = before.into_iter().zip(after).collect();
        }
        Ok(())
    }

    /// The nodes of `level` that differ below the next pair of parents, by their first block.
    fn next_differing(&mut self, level: usize) -> Result<Option<Vec<ChangedBlock>>> {
        if level + 1 < self.levels.len() {
            self.fill(level + 1)?;
            let parents = self.levels[level + 1].pop_front();
            return Ok(parents.map(|(b, a)| differences(level + 1, &b, &a).collect()));
        }
        let [before, after] = [&self.before, &self.after].map(|tree| tree.root().id());
        let is_begun = std::mem::replace(&mut self.is_begun, true);
        Ok((!is_begun).then(|| difference(0, before, after).into_iter().collect()))
    }
}

/// The entries of two nodes of `level` that differ, by the first block below each. Where one tree is
/// higher, nodes that nobody stored stand above the other; no node has the id of one of another
/// level, so what is equal is the same there too.
fn differences(level: usize, before: &Node, after: &Node) -> impl Iterator<Item = ChangedBlock> {
    let pairs = before.entries(level).zip(after.entries(level));
    pairs.filter_map(|((block, before), (_, after))| difference(block, before, after))
}

fn difference(block: u64, before: Id, after: Id) -> Option<ChangedBlock> {
    (before != after).then_some(ChangedBlock { block, before, after })
}
