//! Reading a list from left to right.

use std::collections::VecDeque;
use std::ops::Range;

use super::root::MappedRoot;
use super::{BLOCK_BYTES, bits};
use crate::error::{Error, Result};
use crate::id::{BlobKind, Id};
use crate::image::{BlobSource, ImageWalk};

/// Blocks of the bitmap that are read in one go: 1 MiB.
const BLOCKS_AT_ONCE: usize = 16;

/// Gives the mapped chunks of a volume: ascending runs of chunk numbers that do not touch. Holds
/// about 2 MiB of the bitmap, all of it proven. Nothing follows an error.
pub struct MappedChunks<'i> {
    source: &'i dyn BlobSource,
    list: MappedRoot,
    walk: ImageWalk<'i>,
    /// Read, and not yet looked at.
    ahead: VecDeque<Bits>,
    current: Bits,
    /// What was found, and may go on.
    run: Option<Range<u64>>,
    is_failed: bool,
}

/// A block of the bitmap.
#[derive(Default)]
struct Bits {
    first_chunk: u64,
    /// Empty for a hole.
    bytes: Vec<u8>,
    /// The first that has not been looked at.
    next_bit: usize,
}

impl<'i> MappedChunks<'i> {
    pub(crate) fn new(source: &'i dyn BlobSource, list: MappedRoot) -> Self {
        Self {
            source,
            list,
            walk: ImageWalk::new(source, list.bitmap()),
            ahead: VecDeque::new(),
            current: Bits::default(),
            run: None,
            is_failed: false,
        }
    }

    fn next_run(&mut self) -> Result<Option<Range<u64>>> {
        loop {
            let Some(found) = bits::next_run(&self.current.bytes, self.current.next_bit) else {
                match self.next_block()? {
                    Some(block) => self.current = block,
                    None => return Ok(self.run.take()),
                }
                continue;
            };
            self.current.next_bit = found.end;
            let found = self.current.first_chunk + found.start as u64
                ..self.current.first_chunk + found.end as u64;
            if found.end > self.list.chunks() {
                return Err(self.damaged("its list of mapped chunks goes on behind the volume"));
            }
            match &mut self.run {
                Some(run) if run.end == found.start => run.end = found.end,
                run => {
                    if let Some(whole) = run.replace(found) {
                        return Ok(Some(whole));
                    }
                }
            }
        }
    }

    fn next_block(&mut self) -> Result<Option<Bits>> {
        if self.ahead.is_empty()
            && let Some(window) = self.walk.next_window(BLOCKS_AT_ONCE)?
        {
            let wanted: Vec<Id> = window.ids.iter().copied().filter(|id| !id.is_hole()).collect();
            let bytes_max = BLOCK_BYTES as usize;
            let blocks = self.source.read_blobs(BlobKind::MappedBits, bytes_max, &wanted)?;
            for (block, id) in (window.first_block..).zip(&window.ids) {
                let bytes = blocks.get(id).cloned().unwrap_or_default();
                if bytes.len() != self.list.bitmap().block_length(block) as usize && !id.is_hole() {
                    return Err(self.damaged("a block of its list of mapped chunks has no place"));
                }
                let first_chunk = block * super::BLOCK_CHUNKS;
                self.ahead.push_back(Bits { first_chunk, bytes, next_bit: 0 });
            }
        }
        Ok(self.ahead.pop_front())
    }

    fn damaged(&self, reason: &str) -> Error {
        Error::damaged(self.source.object(), reason)
    }
}

impl Iterator for MappedChunks<'_> {
    type Item = Result<Range<u64>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_failed {
            return None;
        }
        let next = self.next_run();
        self.is_failed = next.is_err();
        next.transpose()
    }
}
