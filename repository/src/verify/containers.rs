//! Checking whole containers, each once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::report::VerifyReport;
use crate::container::{
    BlobOpener, Entry, HEADER_BYTES, Run, TRAILER_BYTES, check_header, read_footer,
};
use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::names::ContainerRef;
use crate::store::{RangeBuffer, Store};

/// Blobs are read in ranges of about this length.
const READ_BYTES: u64 = 4 << 20;
/// Indexes of checked containers that are kept rather than read again.
const RECENT_RUNS_BYTES: usize = 16 << 20;

/// Told after each piece of `checked_bytes`; may stop the check.
pub(super) type OnBytes<'c> = dyn FnMut(u64) -> ControlFlow<()> + 'c;

/// Checks containers of one domain and remembers what it found.
pub(super) struct ContainerChecker<'c> {
    store: &'c dyn Store,
    keys: &'c DomainKeys,
    opener: BlobOpener<'c>,
    checked: HashMap<ContainerRef, Condition>,
    recent: VecDeque<(ContainerRef, Arc<Run>)>,
    pub(super) report: VerifyReport,
    on_bytes: Box<OnBytes<'c>>,
}

/// What a checked container is good for.
enum Condition {
    /// All of it but the blobs at these offsets.
    Readable { bad_offsets: HashSet<u32> },
    /// Nothing.
    Lost,
}

impl<'c> ContainerChecker<'c> {
    pub(super) fn new(
        store: &'c dyn Store,
        keys: &'c DomainKeys,
        on_bytes: Box<OnBytes<'c>>,
    ) -> Result<Self> {
        let opener = BlobOpener::new(keys)?;
        Ok(Self {
            store,
            keys,
            opener,
            checked: HashMap::new(),
            recent: VecDeque::new(),
            report: VerifyReport::default(),
            on_bytes,
        })
    }

    /// Checks the whole container, unless it has been. One that does not exist may have been taken away
    /// by maintenance: unless it `must_exist` that is `false`, and nothing else.
    ///
    /// # Errors
    /// `Canceled` only; damage goes into the report.
    pub(super) fn check(&mut self, container: ContainerRef, must_exist: bool) -> Result<bool> {
        if self.checked.contains_key(&container) {
            return Ok(true);
        }
        let condition = match self.read_through(container) {
            Ok(bad_offsets) => Condition::Readable { bad_offsets },
            Err(Error::Canceled) => return Err(Error::Canceled),
            Err(error) if error.is_not_found() && !must_exist => return Ok(false),
            Err(error) => {
                self.report.add_error(&container.key(self.keys.id()), &error);
                Condition::Lost
            }
        };
        self.checked.insert(container, condition);
        Ok(true)
    }

    /// Whether the checked container holds this blob whole.
    pub(super) fn holds(&mut self, container: ContainerRef, entry: &Entry) -> bool {
        match self.checked.get(&container) {
            Some(Condition::Readable { bad_offsets }) if !bad_offsets.contains(&entry.offset) => {}
            _ => return false,
        }
        let Some(run) = self.run(container) else { return false };
        run.holders(&entry.id).any(|holder| holder == (container, *entry))
    }

    /// Reads all bytes. Returns the offsets of damaged blobs; an error where nothing can be told.
    fn read_through(&mut self, container: ContainerRef) -> Result<HashSet<u32>> {
        let object = container.key(self.keys.id());
        let size = self.store.size(&object)?;
        let footer = read_footer(self.store, self.keys, container, size)?;
        let mut bytes = RangeBuffer::default();
        self.store.get_range(&object, 0..HEADER_BYTES as u64, &mut bytes)?;
        if let Err(error) = check_header(&object, &bytes, self.keys.repository(), container) {
            self.report.add_error(&object, &error);
        }
        let around = HEADER_BYTES as u64 + (footer.range.end - footer.range.start);
        self.count(around + TRAILER_BYTES as u64)?;

        let mut entries: Vec<Entry> = footer
            .run
            .entries()
            .filter(|(holder, _)| *holder == container)
            .map(|(_, entry)| entry)
            .collect();
        entries.sort_unstable_by_key(|entry| entry.offset);
        self.check_gaps(&object, &entries, footer.range.start);
        let mut bad_offsets = HashSet::new();
        for group in group_reads(&entries) {
            self.check_blobs(container, &object, group, &mut bytes, &mut bad_offsets)?;
        }
        self.remember(container, Arc::new(footer.run));
        Ok(bad_offsets)
    }

    /// Every byte between header and footer must be some blob's.
    fn check_gaps(&mut self, object: &str, entries: &[Entry], end: u64) {
        let mut covered = HEADER_BYTES as u64;
        for entry in entries {
            let start = u64::from(entry.offset);
            if start != covered {
                let range = covered.min(start)..covered.max(start);
                self.report.add(object, Some(range), "its blobs do not follow each other".into());
            }
            covered = entry.end();
        }
        if covered != end {
            self.report.add(object, Some(covered..end), "bytes that belong to no blob".into());
        }
    }

    fn check_blobs(
        &mut self,
        container: ContainerRef,
        object: &str,
        entries: &[Entry],
        bytes: &mut RangeBuffer,
        bad_offsets: &mut HashSet<u32>,
    ) -> Result<()> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
        let start = u64::from(first.offset);
        match self.store.get_range(object, start..last.end(), bytes) {
            Ok(()) => {}
            Err(error) if error.is_not_found() => return Err(error.into()),
            Err(error) => {
                self.report.add(object, Some(start..last.end()), error.to_string());
                bad_offsets.extend(entries.iter().map(|entry| entry.offset));
                return Ok(());
            }
        }
        let mut plain = Vec::new();
        for entry in entries {
            let at = |offset: u64| usize::try_from(offset - start).unwrap_or(usize::MAX);
            let sealed = bytes.get(at(entry.offset.into())..at(entry.end())).unwrap_or_default();
            if let Err(error) = self.opener.open(container, entry, sealed, &mut plain) {
                self.report.add_error(object, &error);
                bad_offsets.insert(entry.offset);
            }
        }
        self.count(last.end() - start)
    }

    fn count(&mut self, bytes: u64) -> Result<()> {
        self.report.checked_bytes += bytes;
        match (self.on_bytes)(self.report.checked_bytes) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Canceled),
        }
    }

    /// The index of a container that has been checked before.
    fn run(&mut self, container: ContainerRef) -> Option<Arc<Run>> {
        if let Some((_, run)) = self.recent.iter().find(|(recent, _)| *recent == container) {
            return Some(Arc::clone(run));
        }
        let size = self.store.size(&container.key(self.keys.id())).ok()?;
        let footer = read_footer(self.store, self.keys, container, size).ok()?;
        let run = Arc::new(footer.run);
        self.remember(container, Arc::clone(&run));
        Some(run)
    }

    fn remember(&mut self, container: ContainerRef, run: Arc<Run>) {
        self.recent.push_front((container, run));
        let mut total = 0;
        self.recent.retain(|(_, run)| {
            total += run.memory_bytes();
            total <= RECENT_RUNS_BYTES || total == run.memory_bytes()
        });
    }
}

/// Cuts blobs in order into runs of about [`READ_BYTES`].
fn group_reads(entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let start = u64::from(rest.first()?.offset);
        let end = rest
            .iter()
            .position(|entry| entry.end().saturating_sub(start) > READ_BYTES)
            .unwrap_or(rest.len())
            .max(1);
        let (now, later) = rest.split_at(end);
        rest = later;
        Some(now)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Segment, encode_run, header, seal_footer};
    use crate::crypto::{Encryption, RepositoryKeys, Secret};
    use crate::id::BlobKind;
    use crate::names::{ContainerId, DomainId, Place};
    use crate::store::DirectoryStore;
    use thinmover_io::IoEngine;

    const PACK: ContainerRef = ContainerRef { place: Place::Pack, id: ContainerId([5; 32]) };

    fn keys() -> DomainKeys {
        let keys = RepositoryKeys::new(Secret::new([1; 32]));
        keys.domain(DomainId([2; 16]), [3; 16], Encryption::default())
    }

    /// A pack of two blobs with `gap` bytes before the second and before the footer, all well
    /// sealed.
    fn pack(keys: &DomainKeys, gap: usize) -> (Vec<u8>, Vec<Entry>) {
        let key = keys.container_key(PACK.id).unwrap();
        let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
        let (mut bytes, mut entries) = (header([3; 16], PACK).to_vec(), Vec::new());
        for plain in [b"first", b"again"] {
            let id = keys.blob_id(BlobKind::Data, plain);
            let mut segment = Segment::default();
            segment.push(&mut compressor, BlobKind::Data.byte(), id, plain).unwrap();
            let base = u32::try_from(bytes.len()).unwrap();
            bytes.extend(segment.seal(keys, &key, base, &mut entries).unwrap());
            bytes.extend(std::iter::repeat_n(0, gap));
        }
        let run = encode_run(&[(PACK, entries.clone())]).unwrap();
        let offset = bytes.len() as u64;
        bytes.extend(seal_footer(keys, &key, PACK, offset, run).unwrap());
        (bytes, entries)
    }

    fn check<T>(bytes: &[u8], then: impl FnOnce(&mut ContainerChecker<'_>) -> T) -> T {
        let dir = tempfile::tempdir().unwrap();
        let (store, keys) =
            (DirectoryStore::new(dir.path().join("r"), IoEngine::default()), keys());
        store.create(&PACK.key(keys.id()), bytes).unwrap();
        let on_bytes = Box::new(|_| ControlFlow::Continue(()));
        let mut checker = ContainerChecker::new(&store, &keys, on_bytes).unwrap();
        checker.check(PACK, true).unwrap();
        then(&mut checker)
    }

    #[test]
    fn bytes_that_belong_to_no_blob_are_found() {
        let (whole, _) = pack(&keys(), 0);
        check(&whole, |checker| assert!(checker.report.ok(), "{:?}", checker.report));
        let (with_gaps, _) = pack(&keys(), 3);
        let ranges: Vec<_> = check(&with_gaps, |checker| {
            checker.report.errors.iter().map(|error| error.range.clone()).collect()
        });
        assert_eq!(ranges, [Some(85..88), Some(109..112)]);
    }

    #[test]
    fn an_index_that_disagrees_with_the_pack_is_found() {
        let (bytes, entries) = pack(&keys(), 0);
        check(&bytes, |checker| {
            assert!(checker.holds(PACK, &entries[0]) && checker.holds(PACK, &entries[1]));
            let moved = Entry { offset: entries[1].offset, ..entries[0] };
            assert!(!checker.holds(PACK, &moved));
            let other = ContainerRef { id: ContainerId([6; 32]), ..PACK };
            assert!(!checker.holds(other, &entries[0]));
        });
    }
}
