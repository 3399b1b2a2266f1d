//! Whether the store's create-if-absent can be relied on.

use std::sync::atomic::{AtomicU8, Ordering};

use super::client::Client;
use super::create::{create, delete};
use super::options::ConditionalWrites;
use super::read;
use crate::crypto::random;
use crate::store::{Creation, StoreErrorKind, StoreResult};

const UNKNOWN: u8 = 0;
const NOT_DISPROVED: u8 = 1;
const DISPROVED: u8 = 2;

/// What is wanted, and what a probe found.
#[derive(Debug)]
pub(super) struct Conditions {
    mode: ConditionalWrites,
    found: AtomicU8,
}

impl Conditions {
    pub(super) fn new(mode: ConditionalWrites) -> Self {
        Self { mode, found: AtomicU8::new(UNKNOWN) }
    }

    /// Whether create-if-absent is known to be one.
    pub(super) fn are_known(&self) -> bool {
        match self.mode {
            ConditionalWrites::Trusted => true,
            ConditionalWrites::No => false,
            ConditionalWrites::Auto => self.found.load(Ordering::Relaxed) == NOT_DISPROVED,
        }
    }

    /// Whether requests carry the condition. Where a store ignores it, it does no harm.
    pub(super) fn are_sent(&self) -> bool {
        self.mode != ConditionalWrites::No
    }

    /// Remembers that the store does not know conditions. Tells whether one may do without: not once a
    /// probe has found that it does know them, for others rely on that by now.
    pub(super) fn disprove(&self) -> bool {
        let ordering = Ordering::Relaxed;
        let was = self.found.compare_exchange(UNKNOWN, DISPROVED, ordering, ordering);
        self.mode == ConditionalWrites::Auto && was != Err(NOT_DISPROVED)
    }
}

/// Creates an object twice; a store that lets the second one through is found out. None is ever
/// proved to keep the condition between two requests at the same time.
pub(super) fn probe(client: &Client) -> StoreResult<bool> {
    let conditions = client.conditions();
    if conditions.mode != ConditionalWrites::Auto {
        return Ok(conditions.are_known());
    }
    let failed = |_| {
        let reason = "the random generator failed".to_owned();
        client.error(StoreErrorKind::Other, "create", "probe/", Some(reason))
    };
    let key = format!("probe/{}", hex::encode(random::<16>().map_err(failed)?));
    let seen = try_twice(client, &key);
    let deleted = delete(client, &key);
    let seen = seen?;
    // One that may not delete has a key more; the next that may sees it.
    match deleted {
        Err(error)
            if !matches!(
                error.kind,
                StoreErrorKind::PermissionDenied | StoreErrorKind::NotFound
            ) =>
        {
            return Err(error);
        }
        _ => {}
    }
    // What was disproved once stays so.
    if seen {
        let ordering = Ordering::Relaxed;
        let _ = conditions.found.compare_exchange(UNKNOWN, NOT_DISPROVED, ordering, ordering);
    } else {
        conditions.found.store(DISPROVED, Ordering::Relaxed);
    }
    Ok(conditions.are_known())
}

fn try_twice(client: &Client, key: &str) -> StoreResult<bool> {
    create(client, key, b"first".to_vec())?;
    let second = create(client, key, b"second".to_vec())?;
    let is_refused = matches!(second, Creation::AlreadyExists | Creation::AlreadyExistsInDoubt);
    Ok(is_refused && read::get(client, key, 16)? == b"first")
}
