//! Reading the nodes of a stored tree.

use super::blobs::BlobSource;
use super::root::{ImageRoot, entry_blocks};
use super::{FANOUT, node};
use crate::error::{Error, Result};
use crate::id::Id;

/// A tree whose nodes can be read. Levels are counted from the leaves, which are 0.
pub(super) struct Tree<'i> {
    source: &'i dyn BlobSource,
    root: ImageRoot,
}

/// The ids of one node.
pub(super) struct Node {
    pub(super) first_block: u64,
    /// Without the holes at its end.
    ids: Vec<Id>,
}

impl Node {
    /// One of its 128 entries.
    pub(super) fn id(&self, at: usize) -> Id {
        self.ids.get(at).copied().unwrap_or(Id::HOLE)
    }

    /// All of its entries.
    pub(super) fn into_entries(mut self) -> Vec<Id> {
        self.ids.resize(FANOUT, Id::HOLE);
        self.ids
    }

    /// The first block below each entry, and the entry, of a node of `level`.
    pub(super) fn entries(&self, level: usize) -> impl Iterator<Item = (u64, Id)> {
        let firsts = (0..).map(move |at| self.first_block + at * entry_blocks(level));
        firsts.zip((0..FANOUT).map(|at| self.id(at)))
    }
}

impl<'i> Tree<'i> {
    pub(super) fn new(source: &'i dyn BlobSource, root: ImageRoot) -> Self {
        Self { source, root }
    }

    pub(super) fn root(&self) -> ImageRoot {
        self.root
    }

    /// Reads nodes of one level, given by first block and id, in one go. Every node is proven, and
    /// nothing stands behind the image's last block. Above the root a tree has nodes that nobody
    /// stored: their first entry is the root.
    pub(super) fn load(&self, level: usize, nodes: &[(u64, Id)]) -> Result<Vec<Node>> {
        if level >= self.root.depth() {
            let above = |&(first_block, id)| Node { first_block, ids: vec![id] };
            return Ok(nodes.iter().map(above).collect());
        }
        let wanted: Vec<Id> = nodes.iter().map(|(_, id)| *id).filter(|id| !id.is_hole()).collect();
        let kind = self.root.kind().node();
        let bodies = self.source.read_blobs(kind, node::BYTES_MAX, &wanted)?;
        let decode = |&(first_block, id): &(u64, Id)| {
            let ids = match bodies.get(&id) {
                _ if id.is_hole() => Vec::new(),
                Some(body) => node::decode(body).map_err(|reason| self.damaged(reason))?,
                None => return Err(self.damaged("a node of its tree was not read")),
            };
            self.check_end(level, first_block, ids.len())?;
            Ok(Node { first_block, ids })
        };
        nodes.iter().map(decode).collect()
    }

    fn check_end(&self, level: usize, first_block: u64, entries: usize) -> Result<()> {
        let last = (entries as u64).saturating_sub(1) * entry_blocks(level);
        if entries > 0 && first_block + last >= self.root.blocks() {
            return Err(self.damaged("its tree goes on behind its last block"));
        }
        Ok(())
    }

    pub(super) fn damaged(&self, reason: &str) -> Error {
        Error::damaged(self.source.object(), reason)
    }
}
