//! What an upload stores before it reads the domain's index: the little that a small change makes. To
//! look it up would cost more than storing it once more, and what is stored twice is kept once by
//! maintenance.

use std::collections::HashSet;

use crate::id::Id;

/// Ids that are known without the index: those of the base's list of mapped chunks, and those that the
/// session stored.
#[derive(Debug)]
pub(super) struct EarlyIds {
    ids: HashSet<Id>,
    left_bytes: usize,
}

impl EarlyIds {
    pub(super) fn new(known: HashSet<Id>, limit_bytes: usize) -> Self {
        Self { ids: known, left_bytes: limit_bytes }
    }

    /// Whether the caller is to store this blob of so many bytes; `None` where that is too much to do
    /// without the index.
    pub(super) fn claim(&mut self, id: &Id, bytes: usize) -> Option<bool> {
        if self.ids.contains(id) {
            return Some(false);
        }
        self.left_bytes = self.left_bytes.checked_sub(bytes)?;
        Some(self.ids.insert(*id))
    }

    pub(super) fn into_ids(self) -> HashSet<Id> {
        self.ids
    }
}
