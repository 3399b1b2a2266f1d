//! Making a tree from another one and what changed.

use std::ops::Range;

use super::blobs::{BlobSink, BlobSource};
use super::root::{ImageRoot, entry_blocks};
use super::tree::Tree;
use super::{FANOUT, node};
use crate::error::{Error, Result};
use crate::id::Id;

/// An image that is another one, its base, but for the blocks that are given. Takes those in
/// ascending order and stores the nodes above them; of the base only these nodes are read, and
/// everything else is shared. The result is the very tree that [`ImageBuilder`](super::ImageBuilder)
/// would make of all blocks.
///
/// The image may be longer than its base: what is not given behind the base's end is a hole. It may
/// be shorter: what lies behind its end is left out. Where one of the two ends inside of a block,
/// that block's length is not the base's, so it must be given
/// ([`required_block`](Self::required_block)).
///
/// Holds the path to the last block that was given, one node for each level.
pub struct BasedImage<'u> {
    base: Tree<'u>,
    base_id: String,
    sink: Box<dyn BlobSink + Send + 'u>,
    image: ImageRoot,
    required_block: Option<u64>,
    next_block: u64,
    /// Of the tree as far as no node is open.
    root: Id,
    /// The open nodes, the root first.
    path: Vec<OpenNode>,
}

struct OpenNode {
    first_block: u64,
    /// All 128.
    ids: Vec<Id>,
    /// The node's own, until an entry changes.
    id: Option<Id>,
}

impl OpenNode {
    fn set(&mut self, at: usize, id: Id) {
        if self.ids[at] != id {
            self.ids[at] = id;
            self.id = None;
        }
    }
}

impl<'u> BasedImage<'u> {
    /// `base_id` is the base's backup, for messages.
    pub(crate) fn new(
        source: &'u dyn BlobSource,
        base: ImageRoot,
        base_id: String,
        sink: impl BlobSink + Send + 'u,
        total_bytes: u64,
    ) -> Result<Self> {
        let image = ImageRoot::new(Id::HOLE, total_bytes, base.block_bytes())?.of_kind(base.kind());
        let mut based = Self {
            base: Tree::new(source, base),
            base_id,
            sink: Box::new(sink),
            image,
            required_block: resized_block(base, image),
            next_block: 0,
            root: base.id(),
            path: Vec::new(),
        };
        // A lower tree is what is below the first entries of the base's upper nodes.
        for level in (image.depth()..base.depth()).rev() {
            based.root = based.read(level, 0, based.root)?.ids[0];
        }
        // A higher one has the base below its first entries.
        for level in (base.depth()..image.depth()).rev() {
            let mut ids = vec![Id::HOLE; FANOUT];
            if level == base.depth() {
                ids[0] = based.root;
            }
            based.path.push(OpenNode { first_block: 0, ids, id: None });
        }
        Ok(based)
    }

    /// The block that must be given although nothing in it may have changed: one of the images ends
    /// in it, and the other does not or elsewhere.
    pub fn required_block(&self) -> Option<u64> {
        self.required_block
    }

    /// Says what a block is; [`Id::HOLE`] for one of zeroes.
    ///
    /// # Errors
    /// `InvalidInput` for a block that the image does not have, that lies before one given earlier,
    /// or behind a [`required_block`](Self::required_block) that was not given. `BaseUnusable` where
    /// a node of the base cannot be read; see [`abandon`](Self::abandon). What storing a node can
    /// meet.
    pub fn set(&mut self, block: u64, id: Id) -> Result<()> {
        self.advance(&(block..block.saturating_add(1)))?;
        self.put(0, block, id)
    }

    /// Says that blocks are zeroes, at the cost of a few.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn set_holes(&mut self, blocks: Range<u64>) -> Result<()> {
        self.advance(&blocks)?;
        self.put_holes(blocks)
    }

    /// Stores what is unfinished.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn finish(mut self) -> Result<ImageRoot> {
        let end = self.image.blocks();
        self.advance(&(end..end))?;
        if end < self.base.root().blocks() {
            self.put_holes(end..entry_blocks(self.image.depth()))?;
        }
        while !self.path.is_empty() {
            self.close()?;
        }
        self.sink.settle()?;
        Ok(self.image.with_id(self.root))
    }

    /// Gives the image up, so that the upload can go on without it: after `BaseUnusable`, say, with
    /// an [`ImageBuilder`](super::ImageBuilder) and all blocks. An image that is merely dropped
    /// fails the upload.
    ///
    /// # Errors
    /// What storing nodes can meet.
    pub fn abandon(mut self) -> Result<()> {
        self.sink.settle()
    }

    fn advance(&mut self, blocks: &Range<u64>) -> Result<()> {
        if self.required_block.is_some_and(|required| required < blocks.start) {
            return Err(Error::InvalidInput(
                "the block in which the image or its base ends was not given".to_owned(),
            ));
        }
        if blocks.start < self.next_block
            || blocks.end < blocks.start
            || blocks.end > self.image.blocks()
        {
            return Err(Error::InvalidInput(format!(
                "blocks {} to {} do not follow {} in an image of {}",
                blocks.start,
                blocks.end,
                self.next_block,
                self.image.blocks()
            )));
        }
        self.next_block = blocks.end;
        self.required_block = self.required_block.filter(|block| !blocks.contains(block));
        Ok(())
    }

    fn put_holes(&mut self, blocks: Range<u64>) -> Result<()> {
        let mut block = blocks.start;
        while block < blocks.end {
            // The largest subtree that begins here and ends in time.
            let fits = |level: &usize| {
                let span = entry_blocks(*level);
                block.is_multiple_of(span) && span <= blocks.end - block
            };
            let level = (0..self.image.depth()).rev().find(fits).unwrap_or(0);
            self.put(level, block, Id::HOLE)?;
            block += entry_blocks(level);
        }
        Ok(())
    }

    /// Replaces the entry of a node of `level` below which `block` is.
    fn put(&mut self, level: usize, block: u64, id: Id) -> Result<()> {
        self.open(level, block)?;
        if let Some(node) = self.path.last_mut() {
            node.set(entry_of(level, block), id);
        }
        Ok(())
    }

    /// Makes the node of `level` above `block` the last of the path.
    fn open(&mut self, level: usize, block: u64) -> Result<()> {
        let wanted = self.image.depth() - level;
        while let Some(last) = self.path.last()
            && (self.path.len() > wanted || block - last.first_block >= self.span_of_last())
        {
            self.close()?;
        }
        while self.path.len() < wanted {
            let level = self.image.depth() - self.path.len();
            let id = self.path.last().map_or(self.root, |node| node.ids[entry_of(level, block)]);
            let first_block = block - block % entry_blocks(level);
            let node = self.read(level - 1, first_block, id)?;
            self.path.push(node);
        }
        Ok(())
    }

    /// Blocks below the last node of the path.
    fn span_of_last(&self) -> u64 {
        entry_blocks(self.image.depth() - self.path.len() + 1)
    }

    /// Stores the last node of the path, unless nothing in it changed, and tells its parent.
    fn close(&mut self) -> Result<()> {
        let Some(OpenNode { first_block, ids, id }) = self.path.pop() else { return Ok(()) };
        let body = node::encode(&ids);
        let id = match id {
            Some(id) => id,
            None if body.is_empty() => Id::HOLE,
            None => self.sink.store_blob(self.image.kind().node(), &body)?,
        };
        let level = self.image.depth() - self.path.len();
        match self.path.last_mut() {
            Some(parent) => parent.set(entry_of(level, first_block), id),
            None => self.root = id,
        }
        Ok(())
    }

    fn read(&self, level: usize, first_block: u64, id: Id) -> Result<OpenNode> {
        let mut nodes = self.base.load(level, &[(first_block, id)]).map_err(|cause| {
            Error::BaseUnusable { base: self.base_id.clone(), cause: Box::new(cause) }
        })?;
        let ids = nodes.pop().map(super::tree::Node::into_entries);
        let ids = ids.ok_or(Error::Internal("reading a node"))?;
        Ok(OpenNode { first_block, ids, id: Some(id) })
    }
}

/// Which entry of a node of `level` a block is below.
fn entry_of(level: usize, block: u64) -> usize {
    usize::try_from(block / entry_blocks(level) % FANOUT as u64).unwrap_or_default()
}

/// The block that both have, in different lengths.
fn resized_block(base: ImageRoot, image: ImageRoot) -> Option<u64> {
    let last = base.blocks().min(image.blocks()).checked_sub(1)?;
    (base.block_length(last) != image.block_length(last)).then_some(last)
}
