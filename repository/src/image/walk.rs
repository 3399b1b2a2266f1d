//! Reading a tree from left to right.

use std::collections::{HashMap, VecDeque};

use super::root::{ImageRoot, blocks_below};
use super::{FANOUT, node};
use crate::error::{Error, Result};
use crate::id::Id;

/// Consecutive blocks of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Number of the first block.
    pub first_block: u64,
    /// Their ids, [`Id::HOLE`] for zeroes.
    pub ids: Vec<Id>,
}

/// What a walk reads the nodes of one image from.
pub(crate) trait NodeSource {
    /// The proven plaintext of tree nodes, at most 4 KiB each.
    fn read_nodes(&self, ids: &[Id]) -> Result<HashMap<Id, Vec<u8>>>;

    /// The key of the backup's outcome, for messages.
    fn object(&self) -> &str;
}

/// Gives an image's block ids in order. Holds at most one node's children for each level, and every
/// node is proven before its ids are used.
pub struct ImageWalk<'i> {
    source: &'i dyn NodeSource,
    root: ImageRoot,
    /// Nodes not yet used, leaves first.
    levels: Vec<VecDeque<Node>>,
    is_begun: bool,
    leaf: Option<Node>,
    next_block: u64,
}

struct Node {
    first_block: u64,
    /// Without the holes at its end.
    ids: Vec<Id>,
}

impl<'i> ImageWalk<'i> {
    pub(crate) fn new(source: &'i dyn NodeSource, root: ImageRoot) -> Self {
        let levels = (0..root.depth()).map(|_| VecDeque::new()).collect();
        Self { source, root, levels, is_begun: false, leaf: None, next_block: 0 }
    }

    /// The next blocks, at least one and at most `max_blocks` (at least 1); `None` behind the last.
    ///
    /// # Errors
    /// What reading a node can meet; the walk cannot go on then.
    pub fn next_window(&mut self, max_blocks: usize) -> Result<Option<Window>> {
        let first_block = self.next_block;
        let rest = self.root.blocks() - first_block;
        let wanted = max_blocks.max(1).min(usize::try_from(rest).unwrap_or(usize::MAX));
        let mut ids = Vec::with_capacity(wanted);
        while ids.len() < wanted {
            self.fill_leaf()?;
            let Some(leaf) = &self.leaf else {
                return Err(self.damaged("it ends before its last block"));
            };
            let end = leaf.first_block + FANOUT as u64;
            while ids.len() < wanted && self.next_block < end {
                let at = usize::try_from(self.next_block - leaf.first_block).unwrap_or(usize::MAX);
                ids.push(leaf.ids.get(at).copied().unwrap_or(Id::HOLE));
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
        if level + 1 == self.levels.len() {
            if !std::mem::replace(&mut self.is_begun, true) {
                let root = self.load(level, vec![(0, self.root.id())])?;
                self.levels[level] = root;
            }
            return Ok(());
        }
        self.fill(level + 1)?;
        if let Some(parent) = self.levels[level + 1].pop_front() {
            let blocks = self.root.blocks();
            let span = u64::try_from(blocks_below(level + 1)).unwrap_or(u64::MAX);
            let children: Vec<(u64, Id)> = (0..FANOUT)
                .map_while(|at| {
                    let first = parent.first_block.checked_add(span.checked_mul(at as u64)?)?;
                    let id = parent.ids.get(at).copied().unwrap_or(Id::HOLE);
                    (first < blocks).then_some((first, id))
                })
                .collect();
            self.levels[level] = self.load(level, children)?;
        }
        Ok(())
    }

    /// Reads nodes of one level in one go.
    fn load(&self, level: usize, nodes: Vec<(u64, Id)>) -> Result<VecDeque<Node>> {
        let wanted: Vec<Id> = nodes.iter().map(|(_, id)| *id).filter(|id| !id.is_hole()).collect();
        let mut bodies = self.source.read_nodes(&wanted)?;
        let mut loaded = VecDeque::with_capacity(nodes.len());
        for (first_block, id) in nodes {
            let ids = match bodies.remove(&id) {
                _ if id.is_hole() => Vec::new(),
                Some(body) => {
                    let ids = node::decode(&body).map_err(|reason| self.damaged(reason))?;
                    // The same node may stand in several places.
                    bodies.insert(id, body);
                    ids
                }
                None => return Err(self.damaged("a node of its tree was not read")),
            };
            self.check_end(level, first_block, ids.len())?;
            loaded.push_back(Node { first_block, ids });
        }
        Ok(loaded)
    }

    /// Nothing may stand behind the last block.
    fn check_end(&self, level: usize, first_block: u64, entries: usize) -> Result<()> {
        let last = (entries as u128).saturating_sub(1) * blocks_below(level);
        if entries > 0 && u128::from(first_block) + last >= u128::from(self.root.blocks()) {
            return Err(self.damaged("its tree goes on behind its last block"));
        }
        Ok(())
    }

    fn damaged(&self, reason: &str) -> Error {
        Error::damaged(self.source.object(), reason)
    }
}
