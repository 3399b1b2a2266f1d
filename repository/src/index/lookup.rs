//! Finding blobs through a domain's index runs, in bounded memory.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::view::{IndexView, RunObject, is_damage, list_containers};
use crate::container::{Entry, Run, read_run};
use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::names::{ContainerRef, DomainId};
use crate::store::Store;

/// How often collection may take runs away while they are read.
const REFRESHES_MAX: u32 = 100;

/// Where a blob was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) container: ContainerRef,
    pub(crate) entry: Entry,
    /// The index object that says so.
    pub(crate) index: ContainerRef,
}

/// Looks ids up in the runs of one domain. Decoded runs stay in memory up to a bound; beyond it the
/// one used longest ago is read again when it is needed.
#[derive(Debug)]
pub(crate) struct DomainIndex {
    cache_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    objects: Vec<RunObject>,
    doubts: Arc<Doubts>,
    /// Counts the looks at the store.
    look: u32,
    /// Most recently used first.
    runs: VecDeque<(ContainerRef, Arc<Run>)>,
    bytes: usize,
    /// Index objects that could not be read, and why.
    damaged: HashMap<ContainerRef, String>,
}

/// What may be gone: read only where there is no other holder, and only if it is there.
#[derive(Debug, Default)]
struct Doubts {
    condemned: BTreeSet<ContainerRef>,
    /// Runs that a slow collection made of what it knew.
    runs: BTreeSet<ContainerRef>,
    /// The containers that exist, listed when that is first asked.
    present: OnceLock<BTreeSet<ContainerRef>>,
}

impl Doubts {
    fn concern(&self, located: &Located) -> bool {
        self.runs.contains(&located.index) || self.condemned.contains(&located.container)
    }

    fn is_present(
        &self,
        store: &dyn Store,
        domain: DomainId,
        container: &ContainerRef,
    ) -> Result<bool> {
        if self.present.get().is_none() {
            let present = list_containers(store, domain)?.into_keys().collect();
            self.present.get_or_init(|| present);
        }
        Ok(self.present.get().is_some_and(|present| present.contains(container)))
    }
}

impl State {
    fn see(&mut self, view: &IndexView) {
        self.objects = view.runs_for_readers();
        let believed: BTreeSet<ContainerRef> =
            view.runs_for_writers().iter().map(|object| object.container).collect();
        let runs = self.objects.iter().map(|object| object.container);
        let runs = runs.filter(|container| !believed.contains(container)).collect();
        let condemned = view.condemned();
        self.doubts = Arc::new(Doubts { condemned, runs, present: OnceLock::new() });
        self.damaged.clear();
        self.look += 1;
    }
}

/// Those of the wanted blobs that were found, and whether a run was gone.
struct Search {
    found: HashMap<Id, Located>,
    is_outdated: bool,
}

impl DomainIndex {
    /// An index over what `view` shows.
    pub(crate) fn new(view: &IndexView, cache_bytes: usize) -> Self {
        let mut state = State::default();
        state.see(view);
        Self { cache_bytes, state: Mutex::new(state) }
    }

    /// Where each of `ids` (no holes) lies; every one or an error.
    pub(crate) fn locate(
        &self,
        store: &dyn Store,
        keys: &DomainKeys,
        ids: &[Id],
    ) -> Result<HashMap<Id, Located>> {
        let found = self.locate_available(store, keys, ids)?;
        match ids.iter().find(|id| !found.contains_key(id)) {
            None => Ok(found),
            Some(&id) => Err(Error::BlockMissing { id, hint: self.damage_hint(keys.id()) }),
        }
    }

    /// Where those of `ids` lie that are in any index object that can be read.
    pub(crate) fn locate_available(
        &self,
        store: &dyn Store,
        keys: &DomainKeys,
        ids: &[Id],
    ) -> Result<HashMap<Id, Located>> {
        let mut is_settled = false;
        for _ in 0..REFRESHES_MAX {
            let look = self.lock().look;
            let search = self.search(store, keys, ids, is_settled)?;
            if search.found.len() == ids.len() || is_settled && !search.is_outdated {
                return Ok(search.found);
            }
            // Collection made other runs of one that was there when they were listed, or of one that
            // was not listed any more. Where the listing is still the same, what is missing is lost.
            let view = IndexView::take(store, keys)?;
            let mut state = self.lock();
            if state.look == look {
                is_settled = state.objects == view.runs_for_readers();
                state.see(&view);
            }
        }
        Err(Error::Internal("reading an index that keeps changing"))
    }

    /// Takes a new look at the store: what was found by an earlier one is gone.
    pub(crate) fn look_again(&self, store: &dyn Store, keys: &DomainKeys) -> Result<()> {
        let view = IndexView::take(store, keys)?;
        self.lock().see(&view);
        Ok(())
    }

    /// One pass over the runs; of those that are gone nothing is expected any more if `is_settled`.
    fn search(
        &self,
        store: &dyn Store,
        keys: &DomainKeys,
        ids: &[Id],
        is_settled: bool,
    ) -> Result<Search> {
        let doubts = Arc::clone(&self.lock().doubts);
        let mut wanted: Vec<Id> = ids.to_vec();
        let mut found = HashMap::with_capacity(ids.len());
        let mut last_resort: HashMap<Id, Vec<Located>> = HashMap::new();
        let mut is_outdated = false;
        for object in self.lookup_order() {
            if wanted.is_empty() {
                break;
            }
            if !wanted.iter().any(|id| object.may_name(id)) {
                continue;
            }
            let run = match self.run(store, keys, object) {
                Ok(Some(run)) => run,
                Ok(None) => continue,
                // Named by a generation that is out of date itself.
                Err(error) if error.is_not_found() && doubts.runs.contains(&object.container) => {
                    continue;
                }
                Err(error) if error.is_not_found() && is_settled => {
                    self.lock().damaged.insert(object.container, error.to_string());
                    continue;
                }
                Err(error) if error.is_not_found() => {
                    is_outdated = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let index = object.container;
            wanted.retain(|id| {
                for (container, entry) in run.holders(id) {
                    let located = Located { container, entry, index };
                    if !doubts.concern(&located) {
                        found.insert(*id, located);
                        return false;
                    }
                    last_resort.entry(*id).or_default().push(located);
                }
                true
            });
        }
        for id in wanted {
            for located in last_resort.remove(&id).unwrap_or_default() {
                if doubts.is_present(store, keys.id(), &located.container)? {
                    found.insert(id, located);
                    break;
                }
            }
        }
        Ok(Search { found, is_outdated })
    }

    /// The index objects that were needed so far and could not be read, and why.
    pub(crate) fn damaged(&self) -> Vec<(ContainerRef, String)> {
        self.lock().damaged.iter().map(|(container, error)| (*container, error.clone())).collect()
    }

    /// What is in memory first: the window before is the best guess for this one.
    fn lookup_order(&self) -> Vec<RunObject> {
        let state = self.lock();
        let ranks: HashMap<ContainerRef, usize> =
            state.runs.iter().map(|(container, _)| *container).zip(0..).collect();
        let mut order = state.objects.clone();
        order.sort_by_key(|object| ranks.get(&object.container).copied().unwrap_or(usize::MAX));
        order
    }

    /// `None` for one that is damaged, `NotFound` for one that is gone.
    fn run(
        &self,
        store: &dyn Store,
        keys: &DomainKeys,
        object: RunObject,
    ) -> Result<Option<Arc<Run>>> {
        {
            let mut state = self.lock();
            if state.damaged.contains_key(&object.container) {
                return Ok(None);
            }
            let at = state.runs.iter().position(|(container, _)| *container == object.container);
            if let Some(hit) = at.and_then(|at| state.runs.remove(at)) {
                let run = Arc::clone(&hit.1);
                state.runs.push_front(hit);
                return Ok(Some(run));
            }
        }
        match read_run(store, keys, object.container, object.size) {
            Ok(run) => {
                let run = Arc::new(run);
                self.insert(object.container, Arc::clone(&run));
                Ok(Some(run))
            }
            Err(error) if is_damage(&error) && !error.is_not_found() => {
                self.lock().damaged.insert(object.container, error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn insert(&self, container: ContainerRef, run: Arc<Run>) {
        let mut state = self.lock();
        state.bytes += run.memory_bytes();
        state.runs.push_front((container, run));
        while state.bytes > self.cache_bytes && state.runs.len() > 1 {
            if let Some((_, oldest)) = state.runs.pop_back() {
                state.bytes -= oldest.memory_bytes();
            }
        }
    }

    fn damage_hint(&self, domain: DomainId) -> String {
        let state = self.lock();
        let Some((container, error)) = state.damaged.iter().next() else { return String::new() };
        format!(
            "; {} of its index objects cannot be read, {}: {error}",
            state.damaged.len(),
            container.key(domain)
        )
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
