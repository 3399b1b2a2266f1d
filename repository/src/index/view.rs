//! One consistent look at a domain's index.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::generation::{CompactedRun, GENERATION_BYTES_MAX, Generation};
use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::keep::read_listed;
use crate::names::{self, ContainerRef, DomainId, GenerationName, Place};
use crate::sealed::{self, SealedKind};
use crate::store::{Store, StoreError, StoreErrorKind};

/// How often collection may finish while the generations are read.
const TRIES_MAX: u32 = 1000;

/// An object with an index run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RunObject {
    pub(crate) container: ContainerRef,
    /// Length in bytes.
    pub(crate) size: u64,
    /// It names no blob below this one,
    first: Id,
    /// and none from this one on.
    end: Option<Id>,
}

impl RunObject {
    /// Whether the run may name this blob.
    pub(crate) fn may_name(&self, id: &Id) -> bool {
        self.first <= *id && self.end.is_none_or(|end| *id < end)
    }
}

/// A domain's generations, then its index objects.
#[derive(Clone, Debug, Default)]
pub(crate) struct IndexView {
    pub(crate) generations: BTreeMap<GenerationName, Generation>,
    /// Published by sessions.
    pub(crate) sessions: Vec<RunObject>,
}

impl IndexView {
    /// LIST `gen/`, GET all, LIST `gen/` again, until both listings agree: a single one can miss both
    /// a generation that goes and the one that takes its place. Then LIST `index/`.
    pub(crate) fn take(store: &dyn Store, keys: &DomainKeys) -> Result<Self> {
        let generations = read_generations(store, keys)?;
        let sessions = list_sessions(store, keys.id())?;
        Ok(Self { generations, sessions })
    }

    /// The runs that a writer may believe: those of sessions, and those collection made that every
    /// generation names. A run that one of them does not name may name what is gone.
    pub(crate) fn runs_for_writers(&self) -> Vec<RunObject> {
        self.with_compacted(self.common_runs())
    }

    /// All runs: whatever they say of a container that exists is true. Those that writers may not
    /// believe may name what is gone.
    pub(crate) fn runs_for_readers(&self) -> Vec<RunObject> {
        let all = self.generations.values().flat_map(|generation| &generation.runs);
        self.with_compacted(all.copied().collect())
    }

    /// The runs that every generation names.
    pub(crate) fn common_runs(&self) -> BTreeSet<CompactedRun> {
        let mut generations = self.generations.values();
        let first = generations.next().map(|first| first.runs.clone()).unwrap_or_default();
        generations.fold(first, |common, generation| &common & &generation.runs)
    }

    /// What any generation condemns.
    pub(crate) fn condemned(&self) -> BTreeSet<ContainerRef> {
        self.generations.values().flat_map(|generation| &generation.condemned).copied().collect()
    }

    fn with_compacted(&self, compacted: BTreeSet<CompactedRun>) -> Vec<RunObject> {
        let mut compacted: Vec<_> = compacted.into_iter().collect();
        compacted.sort_unstable_by_key(|run| (run.id.collector(), run.first, run.id));
        let mut runs: Vec<RunObject> = Vec::with_capacity(compacted.len() + self.sessions.len());
        for (at, run) in compacted.iter().enumerate() {
            let next = compacted.get(at + 1);
            let end = next
                .filter(|next| next.id.collector() == run.id.collector())
                .map(|next| next.first);
            let (container, size, first) = (run.container(), run.size, run.first);
            runs.push(RunObject { container, size, first, end });
        }
        runs.extend(&self.sessions);
        runs
    }
}

fn read_generations(
    store: &dyn Store,
    keys: &DomainKeys,
) -> Result<BTreeMap<GenerationName, Generation>> {
    let mut before = list_generations(store, keys.id())?;
    for _ in 0..TRIES_MAX {
        let mut generations = BTreeMap::new();
        for name in &before {
            // One that is gone by now makes the next listing differ.
            if let Some(generation) = read_generation(store, keys, *name)? {
                generations.insert(*name, generation);
            }
        }
        let after = list_generations(store, keys.id())?;
        if after == before && generations.len() == before.len() {
            return Ok(generations);
        }
        before = after;
    }
    Err(Error::Internal("waiting for collection to come to rest"))
}

/// The names of a domain's generations.
pub(crate) fn list_generations(
    store: &dyn Store,
    domain: DomainId,
) -> Result<BTreeSet<GenerationName>> {
    let (mut names, mut unknown) = (BTreeSet::new(), None);
    let prefix = names::generations(domain);
    store.list(&prefix, &mut |entry| match entry
        .key
        .strip_prefix(&prefix)
        .and_then(GenerationName::parse)
    {
        Some(name) => {
            names.insert(name);
            ControlFlow::Continue(())
        }
        None => {
            unknown = Some(entry.key);
            ControlFlow::Break(())
        }
    })?;
    unknown.map_or(Ok(names), |object| Err(newer(object, "an unknown kind of generation")))
}

/// What a generation says; `None` if it is gone.
fn read_generation(
    store: &dyn Store,
    keys: &DomainKeys,
    name: GenerationName,
) -> Result<Option<Generation>> {
    let key = name.key(keys.id());
    // Listed before and behind it, it is there in between.
    read_listed(store, &key, GENERATION_BYTES_MAX, |bytes| {
        let plain = sealed::open_kind(keys, &key, SealedKind::Generation, bytes)?;
        Generation::parse(&plain).map_err(|reason| Error::damaged(&key, reason))
    })
}

/// Index objects, then packs, with their lengths in bytes. So every pack that a listed index object
/// names is listed, or gone.
pub(crate) fn list_containers(
    store: &dyn Store,
    domain: DomainId,
) -> Result<BTreeMap<ContainerRef, u64>> {
    let mut containers = BTreeMap::new();
    for (place, prefix) in
        [(Place::Index, names::indexes(domain)), (Place::Pack, names::packs(domain))]
    {
        store.list(&prefix, &mut |entry| {
            let id = entry.key.strip_prefix(&prefix).and_then(|name| name.parse().ok());
            containers.extend(id.map(|id| (ContainerRef { place, id }, entry.size_bytes)));
            ControlFlow::Continue(())
        })?;
    }
    Ok(containers)
}

/// The index objects that sessions published, in no order. A name of another shape is a newer
/// version's.
fn list_sessions(store: &dyn Store, domain: DomainId) -> Result<Vec<RunObject>> {
    let prefix = names::indexes(domain);
    let (mut objects, mut unknown) = (Vec::new(), None);
    store.list(&prefix, &mut |entry| match entry
        .key
        .strip_prefix(&prefix)
        .and_then(|name| name.parse().ok())
    {
        Some(id) => {
            let container = ContainerRef { place: Place::Index, id };
            let size = entry.size_bytes;
            objects.push(RunObject { container, size, first: Id::HOLE, end: None });
            ControlFlow::Continue(())
        }
        None => {
            unknown = Some(entry.key);
            ControlFlow::Break(())
        }
    })?;
    unknown.map_or(Ok(objects), |object| Err(newer(object, "an unknown kind of index")))
}

fn newer(object: String, found: &str) -> Error {
    Error::NewerFormat { object, found: found.to_owned(), supported: 1 }
}

/// Whether the object itself is at fault, and not the way to it.
pub(crate) fn is_damage(error: &Error) -> bool {
    use StoreErrorKind::{NotFound, TooShort};
    match error {
        Error::Damaged { .. } => true,
        Error::Store(StoreError { kind, .. }) => matches!(kind, NotFound | TooShort),
        _ => false,
    }
}
