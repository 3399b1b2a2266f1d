//! Which worker stores which blob: one that the domain has, or another worker has taken on, need not be
//! stored.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::early::EarlyIds;
use super::known::KnownIds;
use crate::container::read_run;
use crate::crypto::DomainKeys;
use crate::error::Result;
use crate::id::Id;
use crate::index::{IndexView, is_damage};
use crate::names::{ContainerRef, Place};
use crate::store::Store;

/// What the workers of an upload have taken on, over what the domain has.
#[derive(Debug)]
pub(super) struct Claims {
    store: Arc<dyn Store>,
    keys: Arc<DomainKeys>,
    /// As W1 saw it: what is published or condemned later is of no concern.
    pub(super) view: IndexView,
    /// Memory for the ids of known blocks, in bytes.
    pub(super) memory_bytes: usize,
    /// What is known without the index, where the upload builds on a base.
    early: Mutex<Option<EarlyIds>>,
    /// Read when the first block has to be looked up: an upload that changes little never does.
    known: OnceLock<KnownIds>,
    warnings: Mutex<Vec<String>>,
}

impl Claims {
    /// Before the look at the domain.
    pub(super) fn new(store: Arc<dyn Store>, keys: Arc<DomainKeys>, memory_bytes: usize) -> Self {
        Self {
            store,
            keys,
            view: IndexView::default(),
            memory_bytes,
            early: Mutex::default(),
            known: OnceLock::new(),
            warnings: Mutex::default(),
        }
    }

    /// Index objects that could not be read.
    pub(super) fn warnings(&self) -> Vec<String> {
        lock(&self.warnings).clone()
    }

    /// Whether more blobs are known than memory allows to remember.
    pub(super) fn is_limited(&self) -> bool {
        self.known.get().is_some_and(KnownIds::is_limited)
    }

    /// Says what is known without the index.
    pub(super) fn know_early(&self, early: EarlyIds) {
        *lock(&self.early) = Some(early);
    }

    /// Whether the caller is to store this blob of so many bytes; see [`KnownIds::claim`].
    pub(super) fn claim(&self, id: &Id, bytes: usize) -> Result<bool> {
        if self.known.get().is_none() {
            let early = lock(&self.early).as_mut().and_then(|early| early.claim(id, bytes));
            if let Some(is_new) = early {
                return Ok(is_new);
            }
            // One worker reads the index, the others wait for it.
            let mut warnings = lock(&self.warnings);
            if self.known.get().is_none() {
                let known = self.load(&mut warnings)?;
                let early = lock(&self.early).take();
                for id in early.map(EarlyIds::into_ids).unwrap_or_default() {
                    known.claim(&id);
                }
                self.known.get_or_init(|| known);
            }
        }
        Ok(self.known.get().is_none_or(|known| known.claim(id)))
    }

    fn load(&self, warnings: &mut Vec<String>) -> Result<KnownIds> {
        let mut covered: HashSet<ContainerRef> = HashSet::new();
        let mut failure = None;
        let runs = self.view.runs_for_writers().into_iter().map_while(|object| {
            // A compacted run, and these come first, names all that it holds.
            if covered.contains(&object.container) {
                return Some(None);
            }
            match read_run(&*self.store, &self.keys, object.container, object.size) {
                Ok(run) => {
                    if object.container.place == Place::Compacted {
                        covered.extend(run.containers());
                    }
                    Some(Some(run))
                }
                // Collection has taken it away meanwhile. What it knows is stored again.
                Err(error) if error.is_not_found() => Some(None),
                Err(error) if is_damage(&error) => {
                    warnings.push(format!("what this index knows is stored again: {error}"));
                    Some(None)
                }
                Err(error) => {
                    failure = Some(error);
                    None
                }
            }
        });
        let condemned: BTreeSet<ContainerRef> = self.view.condemned();
        let known = KnownIds::load(self.memory_bytes, runs.flatten(), &condemned);
        failure.map_or(Ok(known), Err)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
