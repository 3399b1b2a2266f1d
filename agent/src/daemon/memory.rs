//! Gives back the memory that a crowd of clients or a job has used: the allocator would keep it
//! until the next one comes.

use std::fs;
use std::time::Duration;

use thinmover_io::{kept_heap_bytes, trim_heap};
use tokio::time::Instant;

/// How often the heap is looked at, at most.
const PERIOD: Duration = Duration::from_secs(5);

/// What is not worth the trouble.
const LITTLE_BYTES: usize = 1 << 20;

/// Looks at the process's memory now and then.
pub(super) struct Memory {
    /// How it was when it was last trimmed.
    trimmed: Usage,
    looked_at: Instant,
}

/// What the process has.
#[derive(Clone, Copy, Default)]
struct Usage {
    /// Freed, and kept by the allocator. Pages that the kernel has back still count, so this says
    /// something only beside an earlier value.
    kept_bytes: usize,
    /// In memory, whatever for.
    resident_bytes: usize,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self { trimmed: Usage::now(), looked_at: Instant::now() }
    }

    /// To be called while no job runs: a job uses again at once what it frees.
    pub(super) fn give_back(&mut self) {
        if self.looked_at.elapsed() < PERIOD {
            return;
        }
        self.looked_at = Instant::now();
        let now = Usage::now();
        if self.trimmed.is_worth_a_trim(now) {
            trim_heap();
            self.trimmed = Usage::now();
        }
    }
}

impl Usage {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self { kept_bytes: kept_heap_bytes(), resident_bytes: resident_bytes(&status) }
    }

    /// Whether there may be something to give back, after the trim that left `self`: more was freed
    /// since, or memory was used that may be free again. What was kept and is in use now lowers
    /// `self`, so that it counts when it is freed.
    fn is_worth_a_trim(&mut self, now: Self) -> bool {
        self.kept_bytes = self.kept_bytes.min(now.kept_bytes);
        let has_risen = |before, now| now > before + LITTLE_BYTES;
        has_risen(self.kept_bytes, now.kept_bytes)
            || has_risen(self.resident_bytes, now.resident_bytes)
    }
}

/// VmRSS of proc(5)'s status; 0 where it does not stand there.
fn resident_bytes(status: &str) -> usize {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kib.map_or(0, |kib: usize| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn usage(kept_mib: usize, resident_mib: usize) -> Usage {
        Usage { kept_bytes: kept_mib * MIB, resident_bytes: resident_mib * MIB }
    }

    #[test]
    fn a_crowd_that_was_seen_is_given_back_once_it_has_gone() {
        let mut trimmed = usage(20, 7);
        // It takes what was kept, and what is new; a trim helps nothing.
        assert!(trimmed.is_worth_a_trim(usage(4, 27)));
        let mut trimmed = usage(4, 27);
        assert!(!trimmed.is_worth_a_trim(usage(4, 27)));
        assert!(trimmed.is_worth_a_trim(usage(20, 27)));
    }

    #[test]
    fn a_crowd_that_nobody_looked_at_is_given_back() {
        assert!(usage(20, 7).is_worth_a_trim(usage(20, 23)));
    }

    #[test]
    fn what_is_in_use_for_a_while_counts_when_it_is_freed() {
        let mut trimmed = usage(20, 23);
        assert!(!trimmed.is_worth_a_trim(usage(4, 23)));
        assert!(trimmed.is_worth_a_trim(usage(20, 23)));
    }

    #[test]
    fn nothing_is_done_while_nothing_happens() {
        assert!(!usage(20, 7).is_worth_a_trim(usage(20, 7)));
        assert!(!usage(20, 7).is_worth_a_trim(usage(21, 8)));
    }

    #[test]
    fn the_resident_size_is_read_from_the_status() {
        assert_eq!(resident_bytes("VmHWM:\t  7136 kB\nVmRSS:\t    7 kB\nVmData:\t 1 kB\n"), 7168);
        assert_eq!(resident_bytes("Name:\tthinmover\n"), 0);
        assert!(Usage::now().resident_bytes > MIB);
    }
}
