//! How far a connection is with its current request.

use std::sync::atomic::{AtomicBool, Ordering};

use super::places::Place;

/// The state that the parts of one connection share: its [`Place`], and whether a request is under
/// way. One is, from its headers until the last byte of its answer was written.
pub(super) struct Exchange {
    place: Place,
    under_way: AtomicBool,
    /// All of the answer was handed over to be written.
    handed_over: AtomicBool,
}

impl Exchange {
    pub(super) fn new(place: Place) -> Self {
        Self { place, under_way: AtomicBool::new(false), handed_over: AtomicBool::new(false) }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// A request's headers are read.
    pub(super) fn begin(&self) {
        self.handed_over.store(false, Ordering::Relaxed);
        self.under_way.store(true, Ordering::Relaxed);
    }

    /// The answer's body was given away to its last byte.
    pub(super) fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Relaxed);
    }

    /// All that was given to be written is written.
    pub(super) fn written(&self) {
        if self.handed_over.swap(false, Ordering::Relaxed) {
            self.under_way.store(false, Ordering::Relaxed);
            self.place.end_answer();
        }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed)
    }
}
