//! What the containers of a domain hold, as its index says.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;

use super::reach::{Reach, SHORT_BYTES, blocked_by};
use super::spill::Spill;
use crate::container::{ENTRY_BYTES, Entry, Run, encode_entry, parse_entry, read_run};
use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::RunObject;
use crate::names::ContainerRef;
use crate::store::Store;

/// Where an entry was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// In a run that collection made.
    Compacted = 0,
    /// In a run of a session, which is merged.
    Merged = 1,
    /// In a run of a session that has not ended.
    Open = 2,
}

/// An entry, and its source.
const RECORD_BYTES: usize = ENTRY_BYTES + 1;

/// All entries of all runs.
pub(super) struct Holdings {
    numbers: BTreeMap<ContainerRef, u32>,
    containers: Vec<ContainerRef>,
    entries: Spill<RECORD_BYTES>,
}

/// What is reached of the containers.
pub(super) struct Reached {
    /// Containers of which anything is reached.
    pub(super) containers: BTreeSet<ContainerRef>,
    /// A reached id that nothing holds.
    pub(super) missing: Option<Id>,
}

impl Holdings {
    pub(super) fn new(folder: &Path, memory_bytes: usize) -> Self {
        Self {
            numbers: BTreeMap::new(),
            containers: Vec::new(),
            entries: Spill::new(folder, memory_bytes),
        }
    }

    /// Reads a run. Returns what holds its blobs.
    ///
    /// # Errors
    /// `CollectionBlocked` for a damaged run: what it names could be anything. `NotFound` if another
    /// collection has taken it away.
    pub(super) fn add(
        &mut self,
        store: &dyn Store,
        keys: &DomainKeys,
        object: RunObject,
        source: Source,
    ) -> Result<Run> {
        let run = read_run(store, keys, object.container, object.size)
            .map_err(|error| blocked_by(object.container.key(keys.id()), error))?;
        for (container, entry) in run.entries() {
            let number = self.number(container)?;
            let mut record = [0; RECORD_BYTES];
            record[..ENTRY_BYTES].copy_from_slice(&encode_entry(number, &entry));
            record[ENTRY_BYTES] = source as u8;
            self.entries.push(record)?;
        }
        Ok(run)
    }

    fn number(&mut self, container: ContainerRef) -> Result<u32> {
        if let Some(number) = self.numbers.get(&container) {
            return Ok(*number);
        }
        let number = u32::try_from(self.containers.len())
            .map_err(|_| Error::Internal("counting containers"))?;
        self.containers.push(container);
        self.numbers.insert(container, number);
        Ok(number)
    }

    /// What holds the blobs that were read about.
    pub(super) fn containers(&self) -> &[ContainerRef] {
        &self.containers
    }

    /// Every holder of every reached id; an id of which none `exists` is missing.
    pub(super) fn reached(
        &mut self,
        reach: &mut Reach,
        exists: impl Fn(&ContainerRef) -> bool,
    ) -> Result<Reached> {
        let exists: Vec<bool> = self.containers.iter().map(exists).collect();
        let mut is_reached = vec![false; self.containers.len()];
        let mut missing = None;
        for (ids, records) in reach.buckets().zip(self.entries.buckets()) {
            let (ids, records) = (ids?, records?);
            let mut at = 0;
            let mut is_found = false;
            for record in &records {
                let Some(id) = record.first_chunk::<SHORT_BYTES>() else { continue };
                while ids.get(at).is_some_and(|reached| reached < id) {
                    if !std::mem::take(&mut is_found) {
                        missing = missing.or(ids.get(at).map(padded));
                    }
                    at += 1;
                }
                if ids.get(at) == Some(id)
                    && let Some((number, _)) = parse_entry(record)
                    && let Some(reached) = is_reached.get_mut(number as usize)
                {
                    *reached = true;
                    is_found |= exists[number as usize];
                }
            }
            let behind = if is_found { at + 1 } else { at };
            missing = missing.or(ids.get(behind).map(padded));
        }
        let containers = self.containers.iter().zip(is_reached);
        let containers = containers.filter(|(_, is)| *is).map(|(container, _)| *container);
        Ok(Reached { containers: containers.collect(), missing })
    }

    /// The entries from `sources` in containers that stay, by id.
    pub(super) fn entries(
        &mut self,
        sources: RangeInclusive<Source>,
        stays: impl Fn(&ContainerRef) -> bool,
    ) -> impl Iterator<Item = Result<Vec<(ContainerRef, Entry)>>> {
        let containers: Vec<Option<ContainerRef>> =
            self.containers.iter().map(|it| stays(it).then_some(*it)).collect();
        self.entries.buckets().map(move |bucket| {
            let records = bucket?;
            let sources = *sources.start() as u8..=*sources.end() as u8;
            let wanted = records.iter().filter(|record| sources.contains(&record[ENTRY_BYTES]));
            let mut entries: Vec<(ContainerRef, Entry)> = wanted
                .filter_map(|record| {
                    let (number, entry) = parse_entry(record)?;
                    Some(((*containers.get(number as usize)?)?, entry))
                })
                .collect();
            // Sorted with the source behind the entry: the same one of two sources stands together.
            entries.dedup();
            Ok(entries)
        })
    }
}

/// For a message: the half of the id that is known.
fn padded(short: &super::reach::Short) -> Id {
    let mut id = [0; Id::BYTES];
    id[..SHORT_BYTES].copy_from_slice(short);
    Id(id)
}
