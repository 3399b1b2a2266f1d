//! Memory that O_DIRECT accepts.

use std::alloc::{Layout, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

use libc::{
    MADV_HUGEPAGE, MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, madvise, mmap,
    munmap,
};

/// What buffers, offsets and lengths of direct I/O are multiples of, in bytes. open(2): the needed
/// alignment is the logical block size of the device; 4096 is the largest that disks have.
pub const ALIGNMENT: usize = 4096;

/// A huge page of x86_64 and of aarch64 with pages of 4 KiB
/// (Documentation/admin-guide/mm/transhuge.rst).
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A zeroed, fixed-size byte buffer whose address is a multiple of [`ALIGNMENT`]. It takes memory only
/// once it is written to.
///
/// One of 2 MiB or more lies in huge pages where the kernel has them. To the disk a transfer is then
/// one piece, not one for each 4 KiB: requests are larger and cost the driver (in a virtual machine,
/// the host) less.
#[derive(Debug)]
pub struct AlignedBuffer {
    memory: NonNull<u8>,
    length: usize,
    /// What the memory lies in: its beginning, and its length in bytes.
    mapping: (NonNull<u8>, usize),
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
    #[allow(clippy::expect_used)]
    pub fn new(length_bytes: usize) -> Self {
        let length = length_bytes.max(1).next_multiple_of(ALIGNMENT);
        let layout = Layout::from_size_align(length, ALIGNMENT).expect("bounded buffer length");
        let mapped = if length < HUGE_PAGE_BYTES { map(length) } else { map_huge(length) };
        mapped.unwrap_or_else(|| handle_alloc_error(layout))
    }
}

#[allow(unsafe_code)]
fn map(length: usize) -> Option<AlignedBuffer> {
    let (protection, flags) = (PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    // SAFETY: a new private mapping where the kernel finds room changes no memory that is in use.
    let memory = unsafe { mmap(ptr::null_mut(), length, protection, flags, -1, 0) };
    let memory = if memory == MAP_FAILED { None } else { NonNull::new(memory.cast()) }?;
    Some(AlignedBuffer { memory, length, mapping: (memory, length) })
}

/// Takes more addresses than memory, to begin where a huge page does.
#[allow(unsafe_code)]
fn map_huge(length: usize) -> Option<AlignedBuffer> {
    let mut buffer = map(length.checked_add(HUGE_PAGE_BYTES)?)?;
    // SAFETY: that is less than a huge page away, so `length` bytes from there are in the mapping.
    buffer.memory = unsafe { buffer.memory.add(buffer.memory.align_offset(HUGE_PAGE_BYTES)) };
    buffer.length = length;
    // SAFETY: the pages are the buffer's own, and the advice changes no byte of them. A kernel without
    // huge pages says so, which is no error.
    unsafe { madvise(buffer.memory.as_ptr().cast(), length, MADV_HUGEPAGE) };
    Some(buffer)
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    #[allow(unsafe_code)]
    fn deref(&self) -> &[u8] {
        // SAFETY: `memory` is mapped for `length` bytes, which the kernel has zeroed, while `self`
        // lives.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.length) }
    }
}

impl DerefMut for AlignedBuffer {
    #[allow(unsafe_code)]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes the borrow exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.length) }
    }
}

impl Drop for AlignedBuffer {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        let (mapping, length) = self.mapping;
        // SAFETY: nobody else knows the mapping, and with `self` the last reference into it ends.
        unsafe { munmap(mapping.as_ptr().cast(), length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_zeroed_and_rounded_up() {
        const HUGE: usize = HUGE_PAGE_BYTES;
        for asked in [0, 1, ALIGNMENT, ALIGNMENT + 1, HUGE - 1, HUGE, 2 * HUGE + 1] {
            // Several at a time, so that they would show if they overlapped.
            let mut buffers: Vec<_> = (0..5).map(|_| AlignedBuffer::new(asked)).collect();
            for (number, buffer) in (1..).zip(&mut buffers) {
                assert_eq!(buffer.len(), asked.max(1).next_multiple_of(ALIGNMENT));
                let alignment = if buffer.len() < HUGE { ALIGNMENT } else { HUGE };
                assert_eq!(buffer.as_ptr() as usize % alignment, 0);
                assert!(buffer.iter().all(|&byte| byte == 0));
                buffer.fill(number);
            }
            for (number, buffer) in (1..).zip(&buffers) {
                assert!(buffer.iter().all(|&byte| byte == number));
            }
        }
    }
}
