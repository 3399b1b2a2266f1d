//! Where the nodes of a domain's trees lie, as many as there are: the walk asks for one after another,
//! and reading the index for each would cost more than all the rest.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::spill::{Spill, scratch_file};
use crate::container::{ENTRY_BYTES, Entry, parse_entry};
use crate::error::{Error, Result};
use crate::id::Id;

/// Index entries as an index run has them; the container numbers are the caller's.
pub(super) type NodeEntry = [u8; ENTRY_BYTES];

/// So many stretches at most are told apart in memory.
const STRETCHES_MAX: usize = 65_536;
/// So many entries at least make a stretch: about a page.
const STRETCH_MIN: usize = 64;

/// Entries of tree nodes, sorted.
#[derive(Debug)]
pub(super) struct NodeTable {
    folder: PathBuf,
    entries: Entries,
    len: usize,
    stretch: usize,
    /// The first id of each stretch.
    firsts: Vec<Id>,
}

/// As the spill had them they fit in memory or did not.
#[derive(Debug)]
enum Entries {
    Held(Vec<NodeEntry>),
    /// In a file without a name.
    Stored(File),
}

/// A node in a table.
#[derive(Debug)]
pub(super) struct Found {
    /// Its number among the table's entries: no other node has the same.
    pub(super) rank: usize,
    /// Container numbers and entries, at least one.
    pub(super) holders: Vec<(u32, Entry)>,
}

impl NodeTable {
    pub(super) fn new(folder: &Path, entries: &mut Spill<ENTRY_BYTES>) -> Result<Self> {
        let scratch_error = |source| Error::Scratch { folder: folder.to_owned(), source };
        let stretch = entries.pushed().div_ceil(STRETCHES_MAX).max(STRETCH_MIN);
        let (mut held, mut stored) = (Vec::new(), None);
        if !entries.is_held() {
            let file = scratch_file(folder).map_err(scratch_error)?;
            stored = Some(BufWriter::with_capacity(1 << 18, file));
        }
        let (mut firsts, mut len) = (Vec::new(), 0_usize);
        let mut sorted = entries.sorted()?;
        while let Some(entry) = sorted.next()? {
            if len.is_multiple_of(stretch) {
                firsts.push(id_of(&entry));
            }
            match &mut stored {
                Some(file) => file.write_all(&entry).map_err(scratch_error)?,
                None => held.push(entry),
            }
            len += 1;
        }
        let entries = match stored {
            Some(file) => Entries::Stored(
                file.into_inner().map_err(|error| scratch_error(error.into_error()))?,
            ),
            None => Entries::Held(held),
        };
        Ok(Self { folder: folder.to_owned(), entries, len, stretch, firsts })
    }

    /// How many entries it has.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All holders of a node; `None` where there is none.
    pub(super) fn find(&self, id: &Id) -> Result<Option<Found>> {
        // Its first entry is at the end of the stretch before the first one that begins with it, or
        // at that one's beginning.
        let behind = self.firsts.partition_point(|first| first < id);
        let mut rank = None;
        let mut holders = Vec::new();
        for stretch in behind.saturating_sub(1)..self.firsts.len() {
            let begin = stretch * self.stretch;
            let entries = self
                .read(begin)
                .map_err(|source| Error::Scratch { folder: self.folder.clone(), source })?;
            let at = entries.partition_point(|entry| id_of(entry) < *id);
            let its = entries[at..].iter().take_while(|entry| id_of(entry) == *id);
            let before = holders.len();
            holders.extend(its.filter_map(|entry| parse_entry(entry)));
            if holders.len() > before {
                rank.get_or_insert(begin + at);
            }
            // Those of the next stretch are greater, unless this one's last are the node's own.
            if at + (holders.len() - before) < entries.len() {
                break;
            }
        }
        Ok(rank.map(|rank| Found { rank, holders }))
    }

    fn read(&self, begin: usize) -> io::Result<Cow<'_, [NodeEntry]>> {
        let end = self.len.min(begin + self.stretch);
        match &self.entries {
            Entries::Held(entries) => Ok(Cow::Borrowed(&entries[begin..end])),
            Entries::Stored(file) => {
                let mut entries = vec![[0; ENTRY_BYTES]; end - begin];
                file.read_exact_at(entries.as_flattened_mut(), (begin * ENTRY_BYTES) as u64)?;
                Ok(Cow::Owned(entries))
            }
        }
    }
}

fn id_of(entry: &NodeEntry) -> Id {
    entry.first_chunk().map_or(Id::HOLE, |id| Id(*id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Compression, encode_entry};

    fn id(number: u32) -> Id {
        let mut bytes = [9; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        Id(bytes)
    }

    fn entry(number: u32, container: u32) -> NodeEntry {
        let (offset, compression) = (64 + container, Compression::None);
        let entry = Entry {
            id: id(number),
            offset,
            stored_bytes: 26,
            plain_bytes: 10,
            kind: 2,
            compression,
        };
        encode_entry(container, &entry)
    }

    #[test]
    fn each_node_is_found_with_all_its_holders_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        for (count, memory_bytes) in [
            (0, 2000),
            (1, 2000),
            (63, 2000),
            (64, 2000),
            (65, 2000),
            (1000, 2000),
            (1000, 1 << 20),
        ] {
            let mut spill = Spill::new(folder.path(), memory_bytes);
            for number in 0..count {
                // One has so many that they reach over more than a stretch.
                let holders = if number == 40 { 200 } else { 1 + number % 3 };
                for container in 0..holders {
                    spill.push(entry(2 * number, container)).unwrap();
                }
            }
            let table = NodeTable::new(folder.path(), &mut spill).unwrap();
            let mut ranks = std::collections::BTreeSet::new();
            for number in 0..count {
                let found = table.find(&id(2 * number)).unwrap().unwrap();
                let numbers: Vec<u32> = found.holders.iter().map(|(number, _)| *number).collect();
                let expected = if number == 40 { 200 } else { 1 + number % 3 };
                assert_eq!(numbers, (0..expected).collect::<Vec<_>>(), "{number} of {count}");
                assert!(found.rank < table.len() && ranks.insert(found.rank));
                assert!(table.find(&id(2 * number + 1)).unwrap().is_none());
            }
            assert!(table.find(&Id([0; 32])).unwrap().is_none());
            assert!(table.find(&Id([0xff; 32])).unwrap().is_none());
        }
    }
}
