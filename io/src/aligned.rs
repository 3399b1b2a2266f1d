//! Memory that O_DIRECT accepts.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// What buffers, offsets and lengths of direct I/O are multiples of, in bytes. open(2): the needed
/// alignment is the logical block size of the device; 4096 is the largest that disks have.
pub const ALIGNMENT: usize = 4096;

/// A zeroed, fixed-size byte buffer whose address is a multiple of [`ALIGNMENT`].
#[derive(Debug)]
pub struct AlignedBuffer {
    memory: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the buffer owns its memory exclusively, like a `Box<[u8]>`; nothing in it is tied to a
// thread.
#[allow(unsafe_code)]
unsafe impl Send for AlignedBuffer {}

// SAFETY: through `&AlignedBuffer` only shared reads are possible.
#[allow(unsafe_code)]
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// Allocates `length_bytes` rounded up to [`ALIGNMENT`], and at least one unit of it.
    ///
    /// # Panics
    /// If the rounded length does not fit an `isize`; lengths come from bounded configuration.
    #[allow(unsafe_code, clippy::expect_used)]
    pub fn new(length_bytes: usize) -> Self {
        let length = length_bytes.max(1).next_multiple_of(ALIGNMENT);
        let layout = Layout::from_size_align(length, ALIGNMENT).expect("bounded buffer length");
        // SAFETY: the layout's size is at least ALIGNMENT, so not zero.
        let memory = unsafe { alloc_zeroed(layout) };
        match NonNull::new(memory) {
            Some(memory) => Self { memory, layout },
            None => handle_alloc_error(layout),
        }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    #[allow(unsafe_code)]
    fn deref(&self) -> &[u8] {
        // SAFETY: `memory` is valid for `layout.size()` initialised bytes (alloc_zeroed) while
        // `self` lives.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.layout.size()) }
    }
}

impl DerefMut for AlignedBuffer {
    #[allow(unsafe_code)]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes the borrow exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.layout.size()) }
    }
}

impl Drop for AlignedBuffer {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: `memory` came from `alloc_zeroed` with this very layout and is freed once.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_zeroed_and_rounded_up() {
        for asked in [0, 1, ALIGNMENT, ALIGNMENT + 1, 256 << 10] {
            let buffer = AlignedBuffer::new(asked);
            assert_eq!(buffer.as_ptr() as usize % ALIGNMENT, 0);
            assert_eq!(buffer.len(), asked.max(1).next_multiple_of(ALIGNMENT));
            assert!(buffer.iter().all(|&byte| byte == 0));
        }
    }
}
