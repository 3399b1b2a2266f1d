//! Compacted runs: one sorted index over what many sessions published.

use std::collections::{BTreeMap, BTreeSet};

use crate::container::{
    Entry, FIRST_BLOB_AT, RUN_CONTAINERS_MAX, RUN_ENTRIES_MAX, encode_run, header, seal_footer,
};
use crate::crypto::DomainKeys;
use crate::error::Result;
use crate::id::Id;
use crate::index::CompactedRun;
use crate::names::{CollectorId, ContainerId, ContainerRef, Place};
use crate::store::Store;
use crate::upload::create;

/// Writes runs from entries that come in the order of their ids.
pub(super) struct Compactor<'c> {
    store: &'c dyn Store,
    keys: &'c DomainKeys,
    collector: CollectorId,
    groups: BTreeMap<ContainerRef, Vec<Entry>>,
    first: Option<Id>,
    last: Option<Id>,
    entries: usize,
    runs: BTreeSet<CompactedRun>,
}

impl<'c> Compactor<'c> {
    pub(super) fn new(store: &'c dyn Store, keys: &'c DomainKeys, collector: CollectorId) -> Self {
        Self {
            store,
            keys,
            collector,
            groups: BTreeMap::new(),
            first: None,
            last: None,
            entries: 0,
            runs: BTreeSet::new(),
        }
    }

    pub(super) fn push(&mut self, container: ContainerRef, entry: Entry) -> Result<()> {
        // All holders of a blob stand in one run, so that its range of ids is its own.
        let is_full =
            self.entries >= RUN_ENTRIES_MAX / 2 || self.groups.len() >= RUN_CONTAINERS_MAX / 8 * 7;
        if is_full && self.last != Some(entry.id) {
            self.write()?;
        }
        self.first.get_or_insert(entry.id);
        self.last = Some(entry.id);
        self.entries += 1;
        self.groups.entry(container).or_default().push(entry);
        Ok(())
    }

    /// The runs, all durable.
    pub(super) fn finish(mut self) -> Result<BTreeSet<CompactedRun>> {
        self.write()?;
        Ok(self.runs)
    }

    fn write(&mut self) -> Result<()> {
        let Some(first) = self.first.take() else { return Ok(()) };
        let groups: Vec<_> = std::mem::take(&mut self.groups).into_iter().collect();
        self.entries = 0;
        let id = ContainerId::compacted(self.collector)?;
        let container = ContainerRef { place: Place::Compacted, id };
        let mut bytes = header(self.keys.repository(), container).to_vec();
        let key = self.keys.container_key(id)?;
        let run = encode_run(&groups)?;
        bytes.extend(seal_footer(self.keys, &key, container, u64::from(FIRST_BLOB_AT), run)?);
        create(self.store, "compacted", &container.key(self.keys.id()), &bytes)?;
        self.runs.insert(CompactedRun { id, size: bytes.len() as u64, first });
        Ok(())
    }
}
