//! Storing a list from left to right.

use std::ops::Range;

use super::root::MappedRoot;
use super::{BLOCK_BYTES, BLOCK_CHUNKS, bits};
use crate::error::{Error, Result};
use crate::image::{BlobSink, ImageBuilder};

/// Takes the mapped chunks of a volume in order and stores the list of them. Holds 64 KiB of the
/// bitmap and one unfinished node for each level of its tree.
pub struct MappedListBuilder<'u> {
    tree: ImageBuilder<'u>,
    list: MappedRoot,
    /// The block of the bitmap that is being filled.
    bits: Vec<u8>,
    block: u64,
    next_chunk: u64,
}

impl<'u> MappedListBuilder<'u> {
    pub(crate) fn new(sink: impl BlobSink + Send + 'u, list: MappedRoot) -> Self {
        let tree = ImageBuilder::new(sink, list.bitmap());
        Self { tree, list, bits: vec![0; BLOCK_BYTES as usize], block: 0, next_chunk: 0 }
    }

    /// Adds chunks, by their numbers from the volume's beginning; runs may touch.
    ///
    /// # Errors
    /// `InvalidInput` for chunks that the volume does not have or that lie before some given
    /// earlier, and what storing can meet.
    pub fn push(&mut self, run: Range<u64>) -> Result<()> {
        if run.start < self.next_chunk || run.end < run.start || run.end > self.list.chunks() {
            return Err(Error::InvalidInput(format!(
                "chunks {} to {} do not follow {} in a volume of {}",
                run.start,
                run.end,
                self.next_chunk,
                self.list.chunks()
            )));
        }
        self.next_chunk = run.end;
        let mut start = run.start;
        while start < run.end {
            let block = start / BLOCK_CHUNKS;
            if block > self.block {
                self.store_block()?;
                self.tree.push_holes(block - self.block)?;
                self.block = block;
            }
            let end = run.end.min((block + 1) * BLOCK_CHUNKS);
            let bit = |chunk: u64| usize::try_from(chunk - block * BLOCK_CHUNKS).unwrap_or(0);
            bits::set(&mut self.bits, bit(start)..bit(end));
            start = end;
        }
        Ok(())
    }

    /// Stores what is unfinished.
    ///
    /// # Errors
    /// What storing can meet.
    pub fn finish(mut self) -> Result<MappedRoot> {
        let bitmap = self.list.bitmap();
        if self.block < bitmap.blocks() {
            self.bits.truncate(bitmap.block_length(self.block) as usize);
            self.store_block()?;
            self.tree.push_holes(bitmap.blocks() - self.block)?;
        }
        let id = self.tree.finish()?.id();
        Ok(self.list.with_id(id))
    }

    fn store_block(&mut self) -> Result<()> {
        // Only before the first run: a block is begun for a bit that is set in it.
        if self.bits.iter().all(|&byte| byte == 0) {
            self.tree.push_holes(1)?;
        } else {
            self.tree.push_block(&self.bits)?;
            self.bits.fill(0);
        }
        self.block += 1;
        Ok(())
    }
}
