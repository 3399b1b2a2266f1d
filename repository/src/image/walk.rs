//! Reading a tree from left to right.

use std::collections::VecDeque;

use super::FANOUT;
use super::blobs::BlobSource;
use super::root::ImageRoot;
use super::tree::{Node, Tree};
use crate::error::Result;
use crate::id::Id;

/// Consecutive blocks of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Number of the first block.
    pub first_block: u64,
    /// Their ids, [`Id::HOLE`] for zeroes.
    pub ids: Vec<Id>,
}

/// Gives an image's block ids in order. Holds at most one node's children for each level, and every
/// node is proven before its ids are used.
pub struct ImageWalk<'i> {
    tree: Tree<'i>,
    /// Nodes not yet used, leaves first.
    levels: Vec<VecDeque<Node>>,
    is_begun: bool,
    leaf: Option<Node>,
    next_block: u64,
}

impl<'i> ImageWalk<'i> {
    pub(crate) fn new(source: &'i dyn BlobSource, root: ImageRoot) -> Self {
        let levels = (0..root.depth()).map(|_| VecDeque::new()).collect();
        Self { tree: Tree::new(source, root), levels, is_begun: false, leaf: None, next_block: 0 }
    }

    /// The next blocks, at least one and at most `max_blocks` (at least 1); `None` behind the last.
    ///
    /// # Errors
    /// What reading a node can meet; the walk cannot go on then.
    pub fn next_window(&mut self, max_blocks: usize) -> Result<Option<Window>> {
        let first_block = self.next_block;
        let rest = self.tree.root().blocks() - first_block;
        let wanted = max_blocks.max(1).min(usize::try_from(rest).unwrap_or(usize::MAX));
        let mut ids = Vec::with_capacity(wanted);
        while ids.len() < wanted {
            self.fill_leaf()?;
            let Some(leaf) = &self.leaf else {
                return Err(self.tree.damaged("it ends before its last block"));
            };
            let end = leaf.first_block + FANOUT as u64;
            while ids.len() < wanted && self.next_block < end {
                let at = usize::try_from(self.next_block - leaf.first_block).unwrap_or(usize::MAX);
                ids.push(leaf.id(at));
                self.next_block += 1;
            }
        }
        Ok((wanted > 0).then_some(Window { first_block, ids }))
    }

    /// Makes `leaf` the one that holds the next block.
    fn fill_leaf(&mut self) -> Result<()> {
        let is_current = |leaf: &Node| self.next_block < leaf.first_block + FANOUT as u64;
        if !self.leaf.as_ref().is_some_and(is_current) {
            self.fill(0)?;
            self.leaf = self.levels[0].pop_front();
        }
        Ok(())
    }

    /// Sees to a node at `level` (leaves are 0) if the image has more.
    fn fill(&mut self, level: usize) -> Result<()> {
        if !self.levels[level].is_empty() {
            return Ok(());
        }
        let nodes = if level + 1 < self.levels.len() {
            self.fill(level + 1)?;
            let Some(parent) = self.levels[level + 1].pop_front() else { return Ok(()) };
            let blocks = self.tree.root().blocks();
            parent.entries(level + 1).take_while(|(first, _)| *first < blocks).collect()
        } else if std::mem::replace(&mut self.is_begun, true) {
            return Ok(());
        } else {
            vec![(0, self.tree.root().id())]
        };
        self.levels[level] = self.tree.load(level, &nodes)?.into();
        Ok(())
    }
}
