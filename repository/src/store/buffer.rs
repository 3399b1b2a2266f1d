//! Memory for ranges of objects.

use std::fmt;
use std::ops::Deref;

use thinmover_io::{ALIGNMENT, AlignedBuffer};

/// What it grows by: ranges differ by a little, and room for each a little longer one would be
/// allocated anew.
const STEP_BYTES: usize = 64 << 10;

/// Where a range of an object is read to. Its bytes are what the last reading call asked for; the
/// memory is kept for the next one, and is such that a file can be read into it past the page cache.
#[derive(Default)]
pub struct RangeBuffer {
    memory: Option<AlignedBuffer>,
    start: usize,
    length: usize,
}

impl RangeBuffer {
    /// A buffer for ranges of up to `range_bytes`, which takes memory only as it is used.
    pub fn with_room(range_bytes: usize) -> Self {
        Self {
            memory: Some(AlignedBuffer::new(Self::memory_bytes(range_bytes))),
            ..Self::default()
        }
    }

    /// The most memory that ranges of up to `range_bytes` take, in bytes.
    pub const fn memory_bytes(range_bytes: usize) -> usize {
        (range_bytes + 2 * ALIGNMENT).next_multiple_of(STEP_BYTES)
    }

    /// Makes room for exactly `length` bytes: for a store to fill. What it held is gone.
    pub fn room(&mut self, length: usize) -> &mut [u8] {
        self.set(0, length);
        &mut self.grown(length)[..length]
    }

    /// Makes room for `length` bytes from `offset` of a file: the whole units of [`ALIGNMENT`] around
    /// them, which begin at `offset` rounded down.
    pub(super) fn units(&mut self, offset: u64, length: usize) -> &mut [u8] {
        let start = usize::try_from(offset % ALIGNMENT as u64).unwrap_or_default();
        self.set(start, length);
        let span = (start + length).next_multiple_of(ALIGNMENT);
        &mut self.grown(span)[..span]
    }

    fn set(&mut self, start: usize, length: usize) {
        (self.start, self.length) = (start, length);
    }

    fn grown(&mut self, length: usize) -> &mut AlignedBuffer {
        // Before the new memory is there the old is not needed any more.
        self.memory.take_if(|memory| memory.len() < length);
        let memory = &mut self.memory;
        memory.get_or_insert_with(|| AlignedBuffer::new(length.next_multiple_of(STEP_BYTES)))
    }
}

impl Deref for RangeBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let memory = self.memory.as_deref().unwrap_or_default();
        &memory[self.start..self.start + self.length]
    }
}

impl fmt::Debug for RangeBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RangeBuffer").field("length", &self.length).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_was_last_asked_for_in_bounded_memory() {
        let mut buffer = RangeBuffer::default();
        assert!(buffer.is_empty());
        for (offset, length) in [(0, 10), (4095, 2), (70_000, 500_000), (1, 0), (4097, 499_999)] {
            let units = buffer.units(offset, length);
            assert_eq!(units.as_ptr() as usize % ALIGNMENT, 0);
            assert_eq!(units.len() % ALIGNMENT, 0);
            for (at, byte) in (offset - offset % ALIGNMENT as u64..).zip(units) {
                *byte = at.to_le_bytes()[0] ^ at.to_le_bytes()[1];
            }
            let expected = (offset..).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]);
            assert!(buffer.iter().copied().eq(expected.take(length)), "{offset} {length}");
            let memory = buffer.memory.as_ref().unwrap().len();
            assert!(memory <= RangeBuffer::memory_bytes(500_000), "{memory}");
        }
        buffer.room(3).copy_from_slice(b"abc");
        assert_eq!(&*buffer, b"abc");
    }
}
