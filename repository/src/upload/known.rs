//! Which blobs need not be stored: those of the domain's index and those the session has taken on.
//! Bounded: what does not fit is forgotten, and then stored once more.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::container::Run;
use crate::id::Id;
use crate::names::ContainerRef;

/// The first half of an id. Ids are outputs of a keyed hash, so two of 2^34 blobs (4 PiB of small
/// blocks) agree in 128 bits with a probability of 2^-61.
type Short = u128;

/// A slot of the hash set, its control byte, a load of at least 7/16 right after it has grown, and
/// the old table beside the new one while it grows: about 56 bytes an id at worst.
const SESSION_ID_BYTES: usize = 56;

/// The set of blobs that are stored already, or will be before the commit.
#[derive(Debug)]
pub(super) struct KnownIds {
    /// Sorted.
    stored: Vec<Short>,
    session: Mutex<HashSet<Short>>,
    session_max: usize,
    is_limited: AtomicBool,
}

impl KnownIds {
    /// Ids of existing runs, except those in containers that are `condemned`, as far as they fit in
    /// three quarters of `memory_bytes`; the rest is for the session's own.
    pub(super) fn load(
        memory_bytes: usize,
        runs: impl Iterator<Item = Run>,
        condemned: &BTreeSet<ContainerRef>,
    ) -> Self {
        let stored_max = memory_bytes / 4 * 3 / size_of::<Short>();
        let mut stored: Vec<Short> = Vec::new();
        let mut is_limited = false;
        for run in runs {
            let room = stored_max - stored.len();
            is_limited |= run.len() > room;
            let wanted = run.len().min(room);
            if stored.capacity() - stored.len() < wanted {
                // An eighth more, within the bound: doubling would go far over it.
                stored.reserve_exact(wanted.max(stored.len() / 8).min(room));
            }
            let ids = run.ids_in(|container| !condemned.contains(container));
            stored.extend(ids.take(room).map(short));
            if is_limited {
                break;
            }
        }
        stored.sort_unstable();
        stored.dedup();
        let session_max = (memory_bytes - stored.len() * size_of::<Short>()) / SESSION_ID_BYTES;
        let is_limited = AtomicBool::new(is_limited);
        Self { stored, session: Mutex::default(), session_max, is_limited }
    }

    /// Whether the caller is to store this blob. Whoever is told so must do it or fail the upload:
    /// all others count on it.
    pub(super) fn claim(&self, id: &Id) -> bool {
        let id = short(*id);
        if self.stored.binary_search(&id).is_ok() {
            return false;
        }
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if session.len() < self.session_max {
            return session.insert(id);
        }
        let is_new = !session.contains(&id);
        if is_new {
            self.is_limited.store(true, Ordering::Relaxed);
        }
        is_new
    }

    /// Whether something was forgotten for want of memory.
    pub(super) fn is_limited(&self) -> bool {
        self.is_limited.load(Ordering::Relaxed)
    }
}

fn short(id: Id) -> Short {
    id.0.first_chunk().map_or(0, |half| Short::from_le_bytes(*half))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Compression, Entry, encode_run};
    use crate::names::{ContainerId, Place};

    fn id(number: u32) -> Id {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        Id(bytes)
    }

    fn none() -> BTreeSet<ContainerRef> {
        BTreeSet::new()
    }

    fn run(ids: std::ops::Range<u32>) -> Run {
        run_of(1, ids)
    }

    fn run_of(container: u8, ids: std::ops::Range<u32>) -> Run {
        let container = ContainerRef { place: Place::Pack, id: ContainerId([container; 32]) };
        let (stored_bytes, plain_bytes) = (26, 10);
        let entries = ids.map(|number| {
            let (offset, compression) = (64 + number * 26, Compression::None);
            Entry { id: id(number), offset, stored_bytes, plain_bytes, kind: 1, compression }
        });
        Run::parse(encode_run(&[(container, entries.collect())]).unwrap()).unwrap()
    }

    #[test]
    fn an_id_is_claimed_once() {
        let known = KnownIds::load(1 << 20, [run(0..10), run(5..20)].into_iter(), &none());
        assert!(!known.claim(&id(0)) && !known.claim(&id(19)));
        assert!(known.claim(&id(20)) && !known.claim(&id(20)));
        assert!(!known.is_limited());
    }

    #[test]
    fn what_lies_in_a_condemned_container_is_not_known() {
        let condemned = [run_of(1, 0..1).containers()[0]].into();
        let runs = [run_of(1, 0..10), run_of(2, 5..6)];
        let known = KnownIds::load(1 << 20, runs.into_iter(), &condemned);
        assert!(known.claim(&id(4)) && !known.claim(&id(5)) && known.claim(&id(6)));
    }

    #[test]
    fn over_the_bound_blobs_are_stored_again_and_it_says_so() {
        let known = KnownIds::load(16 * 100, [run(0..1000)].into_iter(), &none());
        assert!(known.is_limited());
        assert!(known.stored.len() <= 75);
        let again = (0..1000).filter(|&number| known.claim(&id(number))).count();
        assert_eq!(again, 1000 - known.stored.len());
        assert!(known.session.lock().unwrap().len() <= known.session_max);
        let without = KnownIds::load(0, [run(0..3)].into_iter(), &none());
        assert!(without.claim(&id(0)) && without.claim(&id(0)) && without.is_limited());
    }
}
