//! What the allocator keeps of freed memory, and giving it back to the kernel. It keeps nearly all by
//! itself, for the next allocation, which in a process that is mostly idle may come tomorrow.
//!
//! Nothing here does anything where the C library is not glibc (2.33).

/// From now on large blocks and the ends of arenas go back to the kernel when they are freed. By
/// itself glibc raises both thresholds to tens of MiB, so that each thread of a job leaves an arena
/// of some MiB behind, and of those [`trim_heap`] cannot give back the ends. To be called before
/// there are threads.
pub fn keep_heap_small() {
    allocator::fix_thresholds();
}

/// Bytes that were freed and that the allocator keeps, over all its arenas: `fordblks` of
/// mallinfo(3). Pages of them that the kernel has back count as well, so only a rise says that there
/// is something to give.
pub fn kept_heap_bytes() -> usize {
    allocator::kept_bytes()
}

/// Gives the kernel every whole page of freed memory, in all arenas: malloc_trim(3). Threads that
/// allocate wait meanwhile, a few milliseconds for some tens of MiB.
pub fn trim_heap() {
    allocator::trim();
}

#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
mod allocator {
    /// Blocks from this size on are mapped each by itself, and unmapped when they are freed.
    const MAPPED_BYTES: i32 = 1 << 20;

    /// The free room at an arena's end from which on it is given back.
    const END_BYTES: i32 = 128 << 10;

    pub(super) fn fix_thresholds() {
        for (parameter, value) in
            [(libc::M_MMAP_THRESHOLD, MAPPED_BYTES), (libc::M_TRIM_THRESHOLD, END_BYTES)]
        {
            // SAFETY: under the lock of the main arena it sets one aligned word, by which other
            // threads decide how to allocate next and whose every value suits every allocation.
            unsafe {
                libc::mallopt(parameter, value);
            }
        }
    }

    pub(super) fn kept_bytes() -> usize {
        // SAFETY: it takes no arguments, returns plain numbers, and takes the lock of each arena
        // that it counts. Beside mallopt(3) it may miscount, which harms nobody.
        unsafe { libc::mallinfo2() }.fordblks
    }

    pub(super) fn trim() {
        // SAFETY: MT-Safe in its man page. It takes the lock of each arena, and what it gives back
        // is in no allocation. The argument is the room to leave at the heap's end.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

#[cfg(not(target_env = "gnu"))]
mod allocator {
    pub(super) fn fix_thresholds() {}

    pub(super) fn kept_bytes() -> usize {
        0
    }

    pub(super) fn trim() {}
}

#[cfg(test)]
#[cfg(target_env = "gnu")]
mod tests {
    use super::*;

    fn resident_bytes() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    #[test]
    fn what_was_freed_is_kept_until_the_heap_is_trimmed() {
        const COUNT: usize = 4096;
        const PIECE: usize = 16 * 1024;
        // The last piece stays, so that nothing is given back by itself at the heap's end.
        let mut pieces: Vec<Vec<u8>> = (0..COUNT).map(|_| vec![1; PIECE]).collect();
        let last = pieces.pop();
        let before = kept_heap_bytes();
        drop(pieces);
        assert!(kept_heap_bytes() >= before + COUNT / 2 * PIECE, "{before}");
        let freed = resident_bytes();
        trim_heap();
        let trimmed = resident_bytes();
        assert!(trimmed + COUNT / 2 * PIECE <= freed, "{freed}, then {trimmed}");
        drop(last);
    }
}
