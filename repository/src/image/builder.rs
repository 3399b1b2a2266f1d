//! Building a tree from left to right.

use super::blobs::BlobSink;
use super::root::ImageRoot;
use super::{FANOUT, node};
use crate::error::{Error, Result};
use crate::id::Id;

/// Takes the ids of an image's blocks in order and stores its tree. Holds one unfinished node for
/// each level.
pub struct ImageBuilder<'u> {
    sink: Box<dyn BlobSink + Send + 'u>,
    image: ImageRoot,
    /// Unfinished nodes, leaves first.
    levels: Vec<Vec<Id>>,
    pushed: u64,
}

impl<'u> ImageBuilder<'u> {
    pub(crate) fn new(sink: impl BlobSink + Send + 'u, image: ImageRoot) -> Self {
        let levels = vec![Vec::with_capacity(FANOUT); image.depth()];
        Self { sink: Box::new(sink), image, levels, pushed: 0 }
    }

    /// Adds the next block; [`Id::HOLE`] for one of zeroes.
    ///
    /// # Errors
    /// `InvalidInput` for more blocks than the image has, and what storing a node can meet.
    pub fn push(&mut self, id: Id) -> Result<()> {
        self.count(1)?;
        self.add(0, id)
    }

    /// Stores the next block, which has a byte that is not zero, and adds it.
    pub(crate) fn push_block(&mut self, plain: &[u8]) -> Result<()> {
        let id = self.sink.store_blob(self.image.kind().block(), plain)?;
        self.push(id)
    }

    /// Adds the next `count` blocks, all of zeroes, at the cost of a few.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_holes(&mut self, count: u64) -> Result<()> {
        self.count(count)?;
        self.add_holes(0, count)
    }

    /// Stores what is unfinished. The image must be complete.
    ///
    /// # Errors
    /// `InvalidInput` for fewer blocks than the image has, and what storing a node can meet.
    pub fn finish(mut self) -> Result<ImageRoot> {
        if self.pushed != self.image.blocks() {
            return Err(Error::InvalidInput(format!(
                "the image has {} blocks, {} were given",
                self.image.blocks(),
                self.pushed
            )));
        }
        let top = self.levels.len() - 1;
        for level in 0..top {
            if !self.levels[level].is_empty() {
                self.close(level)?;
            }
        }
        let root = self.store(top)?;
        self.sink.settle()?;
        Ok(self.image.with_id(root))
    }

    fn count(&mut self, count: u64) -> Result<()> {
        let pushed = self.pushed.checked_add(count).filter(|&sum| sum <= self.image.blocks());
        self.pushed = pushed.ok_or_else(|| {
            Error::InvalidInput(format!("the image has only {} blocks", self.image.blocks()))
        })?;
        Ok(())
    }

    fn add(&mut self, level: usize, id: Id) -> Result<()> {
        self.levels[level].push(id);
        // The root is stored at the end, full or not.
        if self.levels[level].len() == FANOUT && level + 1 < self.levels.len() {
            self.close(level)?;
        }
        Ok(())
    }

    fn add_holes(&mut self, level: usize, mut count: u64) -> Result<()> {
        let is_top = level + 1 == self.levels.len();
        while count > 0 {
            if !is_top && self.levels[level].is_empty() && count >= FANOUT as u64 {
                self.add_holes(level + 1, count / FANOUT as u64)?;
                count %= FANOUT as u64;
            } else {
                self.add(level, Id::HOLE)?;
                count -= 1;
            }
        }
        Ok(())
    }

    fn close(&mut self, level: usize) -> Result<()> {
        let id = self.store(level)?;
        self.add(level + 1, id)
    }

    fn store(&mut self, level: usize) -> Result<Id> {
        let body = node::encode(&self.levels[level]);
        self.levels[level].clear();
        if body.is_empty() {
            return Ok(Id::HOLE);
        }
        self.sink.store_blob(self.image.kind().node(), &body)
    }
}
