//! What the containers of a domain hold, as its index says.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::reach::{Reach, SHORT_BYTES, Short, blocked_by};
use super::spill::Spill;
use crate::container::{ENTRY_BYTES, Entry, Run, encode_entry, parse_entry, read_run};
use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::id::{BlobKind, Id};
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
    folder: PathBuf,
    nodes_memory_bytes: usize,
    numbers: BTreeMap<ContainerRef, u32>,
    containers: Vec<ContainerRef>,
    entries: Spill<RECORD_BYTES>,
    /// Those of tree nodes that nobody has taken yet.
    nodes: Spill<ENTRY_BYTES>,
}

/// A blob as a container holds it, by the container's number.
pub(super) type Held = (u32, Entry);

impl Holdings {
    pub(super) fn new(folder: &Path, memory_bytes: usize) -> Self {
        let nodes_memory_bytes = memory_bytes / 4;
        Self {
            folder: folder.to_owned(),
            nodes_memory_bytes,
            numbers: BTreeMap::new(),
            containers: Vec::new(),
            entries: Spill::new(folder, memory_bytes - nodes_memory_bytes),
            nodes: Spill::new(folder, nodes_memory_bytes),
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
        let is_node = |entry: &Entry| {
            [BlobKind::ImageNode, BlobKind::MappedNode].iter().any(|it| it.byte() == entry.kind)
        };
        for (container, entry) in run.entries() {
            let number = self.number(container)?;
            let encoded = encode_entry(number, &entry);
            let mut record = [0; RECORD_BYTES];
            record[..ENTRY_BYTES].copy_from_slice(&encoded);
            record[ENTRY_BYTES] = source as u8;
            self.entries.push(record)?;
            if is_node(&entry) {
                self.nodes.push(encoded)?;
            }
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

    /// The number of a container, if any blob in it was read about.
    pub(super) fn number_of(&self, container: &ContainerRef) -> Option<u32> {
        self.numbers.get(container).copied()
    }

    /// What holds the blobs that were read about, by number.
    pub(super) fn containers(&self) -> &[ContainerRef] {
        &self.containers
    }

    /// The entries of tree nodes that were read since this was last called.
    pub(super) fn take_nodes(&mut self) -> Spill<ENTRY_BYTES> {
        std::mem::replace(&mut self.nodes, Spill::new(&self.folder, self.nodes_memory_bytes))
    }

    /// Shows all holders of every reached blob, by number and each once, in the order of ids. Returns a
    /// blob that nothing which `exists` holds, if there is one.
    pub(super) fn for_each_reached(
        &mut self,
        reach: &mut Reach,
        exists: &[bool],
        visit: &mut dyn FnMut(&[Held]),
    ) -> Result<Option<Id>> {
        let mut ids = reach.sorted()?;
        let mut records = self.entries.sorted()?;
        let mut record = records.next()?;
        let mut missing = None;
        let mut holders: Vec<Held> = Vec::new();
        while let Some(short) = ids.next()? {
            holders.clear();
            let mut is_found = false;
            while let Some(held) = &record {
                let id = short_of(held);
                if id > short {
                    break;
                }
                if id == short
                    && let Some((number, entry)) = parse_entry(held)
                {
                    is_found |= exists.get(number as usize).is_some_and(|it| *it);
                    // Sorted by number: what two runs name stands together.
                    if holders.last().is_none_or(|(last, _)| *last != number) {
                        holders.push((number, entry));
                    }
                }
                record = records.next()?;
            }
            if !is_found {
                missing.get_or_insert_with(|| padded(&short));
            }
            if !holders.is_empty() {
                visit(&holders);
            }
        }
        Ok(missing)
    }

    /// Shows the entries from `sources` in containers that stay, in the order of ids.
    pub(super) fn for_each_entry(
        &mut self,
        sources: RangeInclusive<Source>,
        stays: impl Fn(&ContainerRef) -> bool,
        visit: &mut dyn FnMut(ContainerRef, Entry) -> Result<()>,
    ) -> Result<()> {
        let containers: Vec<Option<ContainerRef>> =
            self.containers.iter().map(|it| stays(it).then_some(*it)).collect();
        let sources = *sources.start() as u8..=*sources.end() as u8;
        let mut records = self.entries.sorted()?;
        let mut before = None;
        while let Some(record) = records.next()? {
            if !sources.contains(&record[ENTRY_BYTES]) {
                continue;
            }
            let Some((number, entry)) = parse_entry(&record) else { continue };
            let Some(Some(container)) = containers.get(number as usize) else { continue };
            // Sorted with the source behind the entry: the same one of two sources stands together.
            let item = Some((*container, entry));
            if before != item {
                before = item;
                visit(*container, entry)?;
            }
        }
        Ok(())
    }
}

fn short_of(record: &[u8; RECORD_BYTES]) -> Short {
    record.first_chunk().copied().unwrap_or_default()
}

/// For a message: the half of the id that is known, and zeroes.
fn padded(short: &Short) -> Id {
    let mut id = [0; Id::BYTES];
    id[..SHORT_BYTES].copy_from_slice(short);
    Id(id)
}
