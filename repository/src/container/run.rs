//! Index runs: which blob lies where, sorted so that one binary search finds it (FORMAT.md, section
//! 9).

use crate::crypto::TAG_BYTES;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::names::{ContainerId, ContainerRef, Place};

use super::BLOB_BYTES_MAX;
use super::frame::{FIRST_BLOB_AT, u32_at};

pub(crate) const RUN_ENTRIES_MAX: usize = 262_144;
pub(crate) const RUN_CONTAINERS_MAX: usize = 65_536;
const COUNTS_BYTES: usize = 8;
const CONTAINER_BYTES: usize = 33;
pub(crate) const ENTRY_BYTES: usize = 50;

pub(super) const RUN_BYTES_MAX: usize =
    COUNTS_BYTES + RUN_CONTAINERS_MAX * CONTAINER_BYTES + RUN_ENTRIES_MAX * ENTRY_BYTES;

/// How a blob's data is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Zstd,
}

/// Where one blob lies in its container. Bounds hold for every value that a run gives out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: Id,
    pub(crate) offset: u32,
    /// With the tag.
    pub(crate) stored_bytes: u32,
    pub(crate) plain_bytes: u32,
    pub(crate) kind: u8,
    pub(crate) compression: Compression,
}

impl Entry {
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.stored_bytes)
    }

    fn is_sound(&self) -> bool {
        let data = u64::from(self.stored_bytes).checked_sub(TAG_BYTES as u64);
        let plain = u64::from(self.plain_bytes);
        let fits = match (self.compression, data) {
            (Compression::None, Some(data)) => data == plain,
            (Compression::Zstd, Some(data)) => 0 < data && data < plain,
            (_, None) => false,
        };
        fits && !self.id.is_hole()
            && (1..=BLOB_BYTES_MAX as u64).contains(&plain)
            && self.offset >= FIRST_BLOB_AT
            && self.end() <= u64::from(u32::MAX)
    }
}

/// The plaintext of a run over these containers' entries, in any order.
pub(crate) fn encode_run(groups: &[(ContainerRef, Vec<Entry>)]) -> Result<Vec<u8>> {
    let mut order: Vec<&(ContainerRef, Vec<Entry>)> = groups.iter().collect();
    order.sort_unstable_by_key(|(container, _)| *container);
    let total: usize = groups.iter().map(|(_, entries)| entries.len()).sum();
    if total > RUN_ENTRIES_MAX || groups.len() > RUN_CONTAINERS_MAX {
        return Err(Error::Internal("bounding an index run"));
    }
    let mut entries = Vec::with_capacity(total);
    let mut bytes = Vec::with_capacity(
        COUNTS_BYTES + groups.len() * CONTAINER_BYTES + total * ENTRY_BYTES + TAG_BYTES,
    );
    put_count(&mut bytes, groups.len());
    put_count(&mut bytes, total);
    for (number, (container, its)) in (0u32..).zip(&order) {
        bytes.push(container.place.number());
        bytes.extend(container.id.0);
        entries.extend(its.iter().map(|entry| (number, entry)));
    }
    entries.sort_unstable_by_key(|(number, entry)| (entry.id, *number, entry.offset));
    for (number, entry) in entries {
        bytes.extend(encode_entry(number, entry));
    }
    Ok(bytes)
}

/// An entry as it is stored; `number` is its container's.
pub(crate) fn encode_entry(number: u32, entry: &Entry) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..32].copy_from_slice(&entry.id.0);
    let values = [number, entry.offset, entry.stored_bytes, entry.plain_bytes];
    for (at, value) in bytes[32..48].chunks_exact_mut(4).zip(values) {
        at.copy_from_slice(&value.to_le_bytes());
    }
    bytes[48] = entry.kind;
    bytes[49] = match entry.compression {
        Compression::None => 0,
        Compression::Zstd => 1,
    };
    bytes
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    // Bounded by the caller.
    bytes.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

/// A run in memory, in its stored form: 50 bytes an entry.
#[derive(Debug)]
pub(crate) struct Run {
    bytes: Vec<u8>,
    containers: Vec<ContainerRef>,
    entries_at: usize,
    count: usize,
}

impl Run {
    /// Checks every entry; the message of an error says what is wrong.
    pub(crate) fn parse(bytes: Vec<u8>) -> std::result::Result<Self, &'static str> {
        let count_at = |at| u32_at(&bytes, at).map(|n| n as usize).ok_or("it has no counts");
        let (containers_count, count) = (count_at(0)?, count_at(4)?);
        if containers_count > RUN_CONTAINERS_MAX || count > RUN_ENTRIES_MAX {
            return Err("its counts are out of bounds");
        }
        let entries_at = COUNTS_BYTES + containers_count * CONTAINER_BYTES;
        if bytes.len() != entries_at + count * ENTRY_BYTES {
            return Err("its length does not fit its counts");
        }
        let containers = parse_containers(&bytes[COUNTS_BYTES..entries_at])?;
        let run = Self { bytes, containers, entries_at, count };
        run.check_entries()?;
        Ok(run)
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// What it takes in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.containers.len() * size_of::<ContainerRef>()
    }

    /// What holds its blobs.
    pub(crate) fn containers(&self) -> &[ContainerRef] {
        &self.containers
    }

    /// The blobs that lie in a container which `is_wanted`.
    pub(crate) fn ids_in(
        &self,
        is_wanted: impl Fn(&ContainerRef) -> bool,
    ) -> impl Iterator<Item = Id> {
        let wanted: Vec<bool> = self.containers.iter().map(is_wanted).collect();
        (0..self.count).filter_map(move |index| {
            let number = u32_at(self.raw(index), 32)? as usize;
            wanted.get(number)?.then(|| self.id(index))
        })
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (ContainerRef, Entry)> {
        (0..self.count).filter_map(|index| self.entry(index))
    }

    /// All holders of a blob.
    pub(crate) fn holders(&self, id: &Id) -> impl Iterator<Item = (ContainerRef, Entry)> {
        let id = *id;
        (self.lower_bound(&id)..self.count)
            .map_while(|index| self.entry(index))
            .take_while(move |(_, entry)| entry.id == id)
    }

    fn lower_bound(&self, id: &Id) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.id(middle) < *id {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn raw(&self, index: usize) -> &[u8] {
        let start = self.entries_at + index * ENTRY_BYTES;
        self.bytes.get(start..start + ENTRY_BYTES).unwrap_or_default()
    }

    fn id(&self, index: usize) -> Id {
        self.raw(index).first_chunk().map_or(Id::HOLE, |bytes| Id(*bytes))
    }

    fn entry(&self, index: usize) -> Option<(ContainerRef, Entry)> {
        let (number, entry) = parse_entry(self.raw(index))?;
        Some((*self.containers.get(number as usize)?, entry))
    }

    fn check_entries(&self) -> std::result::Result<(), &'static str> {
        let mut previous = None;
        for index in 0..self.count {
            let (number, entry) = parse_entry(self.raw(index)).ok_or("an entry has no meaning")?;
            if number as usize >= self.containers.len() || !entry.is_sound() {
                return Err("an entry is out of bounds");
            }
            let position = Some((entry.id, number, entry.offset));
            if position <= previous {
                return Err("its entries are not in order");
            }
            previous = position;
        }
        Ok(())
    }
}

fn parse_containers(bytes: &[u8]) -> std::result::Result<Vec<ContainerRef>, &'static str> {
    let mut containers: Vec<ContainerRef> = Vec::with_capacity(bytes.len() / CONTAINER_BYTES);
    for raw in bytes.chunks_exact(CONTAINER_BYTES) {
        let place = Place::from_number(raw[0]).ok_or("a container is in no known place")?;
        let mut id = [0; 32];
        id.copy_from_slice(&raw[1..]);
        let container = ContainerRef { place, id: ContainerId(id) };
        if containers.last().is_some_and(|last| *last >= container) {
            return Err("its containers are not in order");
        }
        containers.push(container);
    }
    Ok(containers)
}

/// What [`encode_entry`] made.
pub(crate) fn parse_entry(raw: &[u8]) -> Option<(u32, Entry)> {
    let compression = match raw.get(49)? {
        0 => Compression::None,
        1 => Compression::Zstd,
        _ => return None,
    };
    let entry = Entry {
        id: Id(*raw.first_chunk()?),
        offset: u32_at(raw, 36)?,
        stored_bytes: u32_at(raw, 40)?,
        plain_bytes: u32_at(raw, 44)?,
        kind: *raw.get(48)?,
        compression,
    };
    Some((u32_at(raw, 32)?, entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn container(place: Place, byte: u8) -> ContainerRef {
        ContainerRef { place, id: ContainerId([byte; 32]) }
    }

    fn entry(id: u8, offset: u32) -> Entry {
        let compression = if id.is_multiple_of(2) { Compression::None } else { Compression::Zstd };
        let plain_bytes = if id.is_multiple_of(2) { 100 } else { 4096 };
        Entry { id: Id([id; 32]), offset, stored_bytes: 116, plain_bytes, kind: 1, compression }
    }

    fn groups() -> Vec<(ContainerRef, Vec<Entry>)> {
        vec![
            (container(Place::Index, 1), vec![entry(9, 64), entry(2, 180)]),
            (container(Place::Pack, 7), vec![entry(4, 64), entry(3, 300), entry(9, 900)]),
        ]
    }

    #[test]
    fn every_blob_of_a_run_is_found_and_no_other() {
        let run = Run::parse(encode_run(&groups()).unwrap()).unwrap();
        assert_eq!(run.len(), 5);
        for (container, entries) in groups() {
            for entry in entries {
                assert!(run.entries().any(|found| found == (container, entry)));
            }
        }
        assert_eq!(
            run.holders(&Id([3; 32])).next(),
            Some((container(Place::Pack, 7), entry(3, 300)))
        );
        assert_eq!(
            run.holders(&Id([9; 32])).next(),
            Some((container(Place::Pack, 7), entry(9, 900)))
        );
        assert_eq!(run.holders(&Id([5; 32])).next(), None);
        assert_eq!(run.holders(&Id([0xff; 32])).next(), None);
    }

    #[test]
    fn entries_that_lie_about_lengths_are_refused() {
        let change: [fn(&mut Entry); 7] = [
            |e| e.offset = 63,
            |e| e.offset = u32::MAX,
            |e| e.stored_bytes = 16,
            |e| e.stored_bytes = 117,
            |e| e.plain_bytes = 0,
            |e| e.plain_bytes = u32::MAX,
            |e| e.id = Id::HOLE,
        ];
        for (number, change) in change.into_iter().enumerate() {
            let mut groups = groups();
            change(&mut groups[1].1[0]);
            let parsed = Run::parse(encode_run(&groups).unwrap());
            assert_eq!(parsed.unwrap_err(), "an entry is out of bounds", "change {number}");
        }
    }

    #[test]
    fn an_entry_twice_is_refused() {
        let groups = vec![(container(Place::Pack, 1), vec![entry(2, 64), entry(2, 64)])];
        let parsed = Run::parse(encode_run(&groups).unwrap());
        assert_eq!(parsed.unwrap_err(), "its entries are not in order");
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused(
            counts: [u8; 2], bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut run = vec![counts[0] % 3, 0, 0, 0, counts[1] % 4, 0, 0, 0];
            run.extend(&bytes);
            let _ = Run::parse(bytes);
            let _ = Run::parse(run);
        }

        #[test]
        fn a_changed_run_parses_to_sound_entries_or_is_refused(at in 0usize..324, byte: u8) {
            let mut bytes = encode_run(&groups()).unwrap();
            bytes[at] = byte;
            if let Ok(run) = Run::parse(bytes) {
                prop_assert!(run.entries().all(|(_, entry)| entry.is_sound()));
                prop_assert_eq!(run.entries().count(), run.len());
            }
        }
    }
}
