//! Metadata in memory, for tests: reads finish out of order, and how many there were is known.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use super::block::BLOCK_BYTES;
use super::source::BlockSource;
use super::values::MetadataBlock;

/// Reads an image; a given one always in the same order.
#[derive(Debug)]
pub(crate) struct MemoryBlocks {
    image: Rc<RefCell<Vec<u8>>>,
    /// Whatever read this block is in fails.
    pub(super) bad_block: Option<u64>,
    begun: Vec<(u64, MetadataBlock, usize)>,
    order: u64,
    counter: Rc<Cell<u64>>,
}

impl MemoryBlocks {
    const ROOM: usize = 5;

    pub(super) fn new(image: Vec<u8>) -> Self {
        let image = Rc::new(RefCell::new(image));
        Self { image, bad_block: None, begun: Vec::new(), order: 1, counter: Rc::default() }
    }

    /// How many blocks have been read, also when this has been given away.
    pub(super) fn counter(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.counter)
    }

    /// The image, to change it also when this has been given away.
    pub(super) fn image(&self) -> Rc<RefCell<Vec<u8>>> {
        Rc::clone(&self.image)
    }
}

impl BlockSource for MemoryBlocks {
    type Bytes = Vec<u8>;

    fn block_count(&self) -> u64 {
        (self.image.borrow().len() / BLOCK_BYTES) as u64
    }

    fn has_room(&self) -> bool {
        self.begun.len() < Self::ROOM
    }

    fn begin(&mut self, tag: u64, first: MetadataBlock, count: usize) {
        assert!(self.has_room() && count > 0, "a read of {count} blocks in no room");
        assert!(first.0 + count as u64 <= self.block_count(), "a read past the end");
        self.begun.push((tag, first, count));
    }

    fn finish(&mut self) -> (u64, io::Result<Vec<u8>>) {
        self.order = self.order.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let chosen = usize::try_from(self.order >> 33).unwrap_or(0) % self.begun.len();
        let (tag, first, count) = self.begun.swap_remove(chosen);
        self.counter.set(self.counter.get() + count as u64);
        if self.bad_block.is_some_and(|bad| (first.0..first.0 + count as u64).contains(&bad)) {
            return (tag, Err(io::ErrorKind::Other.into()));
        }
        let start = usize::try_from(first.0).unwrap_or(0) * BLOCK_BYTES;
        (tag, Ok(self.image.borrow()[start..start + count * BLOCK_BYTES].to_vec()))
    }
}
