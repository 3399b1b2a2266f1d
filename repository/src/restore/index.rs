//! Finding blobs through a domain's index runs, in bounded memory.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use crate::container::{Entry, Run, read_run};
use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::names::{self, ContainerRef, DomainId, Place};
use crate::store::Store;

/// Where a blob was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) container: ContainerRef,
    pub(crate) entry: Entry,
    /// The index object that says so.
    pub(crate) index: ContainerRef,
}

/// An index object as listed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexObject {
    pub(crate) container: ContainerRef,
    pub(crate) size: u64,
}

/// The index objects of a domain, in no order. A name of another shape is a newer version's.
pub(crate) fn list_indexes(store: &dyn Store, domain: DomainId) -> Result<Vec<IndexObject>> {
    let prefix = names::indexes(domain);
    let mut objects = Vec::new();
    let mut unknown = None;
    store.list(&prefix, &mut |entry| match entry
        .key
        .strip_prefix(&prefix)
        .and_then(|name| name.parse().ok())
    {
        Some(id) => {
            let container = ContainerRef { place: Place::Index, id };
            objects.push(IndexObject { container, size: entry.size_bytes });
            ControlFlow::Continue(())
        }
        None => {
            unknown = Some(entry.key);
            ControlFlow::Break(())
        }
    })?;
    match unknown {
        Some(object) => Err(Error::NewerFormat {
            object,
            found: "an unknown kind of index".into(),
            supported: 1,
        }),
        None => Ok(objects),
    }
}

/// Looks ids up in the runs of one domain. Decoded runs stay in memory up to a bound; beyond it the
/// one used longest ago is read again when it is needed.
#[derive(Debug)]
pub(crate) struct DomainIndex {
    objects: Vec<IndexObject>,
    cache_bytes: usize,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    /// Most recently used first.
    runs: VecDeque<(ContainerRef, Arc<Run>)>,
    bytes: usize,
    /// Index objects that could not be read, and why.
    damaged: HashMap<ContainerRef, String>,
}

impl DomainIndex {
    pub(crate) fn list(store: &dyn Store, domain: DomainId, cache_bytes: usize) -> Result<Self> {
        let objects = list_indexes(store, domain)?;
        Ok(Self { objects, cache_bytes, cache: Mutex::default() })
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
        let mut wanted: Vec<Id> = ids.to_vec();
        let mut found = HashMap::with_capacity(ids.len());
        for object in self.lookup_order() {
            if wanted.is_empty() {
                break;
            }
            let Some(run) = self.run(store, keys, object)? else { continue };
            let index = object.container;
            wanted.retain(|id| match run.find(id) {
                Some((container, entry)) => {
                    found.insert(*id, Located { container, entry, index });
                    false
                }
                None => true,
            });
        }
        Ok(found)
    }

    /// The index objects that were needed so far and could not be read, and why.
    pub(crate) fn damaged(&self) -> Vec<(ContainerRef, String)> {
        self.lock().damaged.iter().map(|(container, error)| (*container, error.clone())).collect()
    }

    /// What is in memory first: the window before is the best guess for this one.
    fn lookup_order(&self) -> Vec<IndexObject> {
        let ranks: HashMap<ContainerRef, usize> =
            self.lock().runs.iter().map(|(container, _)| *container).zip(0..).collect();
        let mut order = self.objects.clone();
        order.sort_by_key(|object| ranks.get(&object.container).copied().unwrap_or(usize::MAX));
        order
    }

    fn run(
        &self,
        store: &dyn Store,
        keys: &DomainKeys,
        object: IndexObject,
    ) -> Result<Option<Arc<Run>>> {
        {
            let mut cache = self.lock();
            if cache.damaged.contains_key(&object.container) {
                return Ok(None);
            }
            let at = cache.runs.iter().position(|(container, _)| *container == object.container);
            if let Some(hit) = at.and_then(|at| cache.runs.remove(at)) {
                let run = Arc::clone(&hit.1);
                cache.runs.push_front(hit);
                return Ok(Some(run));
            }
        }
        match read_run(store, keys, object.container, object.size) {
            Ok(run) => {
                let run = Arc::new(run);
                self.insert(object.container, Arc::clone(&run));
                Ok(Some(run))
            }
            Err(error) if is_damage(&error) => {
                self.lock().damaged.insert(object.container, error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn insert(&self, container: ContainerRef, run: Arc<Run>) {
        let mut cache = self.lock();
        cache.bytes += run.memory_bytes();
        cache.runs.push_front((container, run));
        while cache.bytes > self.cache_bytes && cache.runs.len() > 1 {
            if let Some((_, oldest)) = cache.runs.pop_back() {
                cache.bytes -= oldest.memory_bytes();
            }
        }
    }

    fn damage_hint(&self, domain: DomainId) -> String {
        let cache = self.lock();
        let Some((container, error)) = cache.damaged.iter().next() else { return String::new() };
        format!(
            "; {} of its index objects cannot be read, {}: {error}",
            cache.damaged.len(),
            container.key(domain)
        )
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the object itself is at fault, and not the way to it.
pub(crate) fn is_damage(error: &Error) -> bool {
    use crate::store::{
        StoreError,
        StoreErrorKind::{NotFound, TooShort},
    };
    match error {
        Error::Damaged { .. } => true,
        Error::Store(StoreError { kind, .. }) => matches!(kind, NotFound | TooShort),
        _ => false,
    }
}
