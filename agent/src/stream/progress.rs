//! How far a job is: counters that the data path raises and a terminal, a pipe or an API reads.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Shared counters of one job, all in bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    phase: Mutex<Cow<'static, str>>,
    total: AtomicU64,
    done: AtomicU64,
}

impl Progress {
    /// Says what the job is doing now, for people ("reading vg0/data").
    pub(crate) fn set_phase(&self, phase: impl Into<Cow<'static, str>>) {
        *self.0.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase.into();
    }

    /// What the job is doing now.
    pub(crate) fn phase(&self) -> Cow<'static, str> {
        self.0.phase.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets how many bytes the job has to go through.
    pub(crate) fn set_total_bytes(&self, total: u64) {
        self.0.total.store(total, Relaxed);
    }

    /// Bytes the job has to go through; 0 while that is unknown.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.0.total.load(Relaxed)
    }

    /// Counts `bytes` more as gone through, holes included.
    pub(crate) fn add_done_bytes(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Relaxed);
    }

    /// Says how many bytes are gone through, where the work counts itself.
    pub(crate) fn set_done_bytes(&self, bytes: u64) {
        self.0.done.store(bytes, Relaxed);
    }

    /// Bytes gone through so far.
    pub(crate) fn done_bytes(&self) -> u64 {
        self.0.done.load(Relaxed)
    }
}
