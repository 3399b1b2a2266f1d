//! A domain as large as one wants, of which nothing is stored: what is asked for is made anew from its
//! place. A volume of `blocks` blocks with one live backup, and a pack that nobody needs for every
//! hundred that somebody does.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex};

use crate::container::{
    Compression, Entry, FIRST_BLOB_AT, Segment, encode_run, header, seal_footer,
};
use crate::crypto::{DomainKeys, TAG_BYTES};
use crate::id::{BlobKind, Id};
use crate::image::ImageRoot;
use crate::manifest::{self, Manifest};
use crate::names::{BackupLocation, ContainerId, ContainerRef, Place, SessionId, VolumeId};
use crate::session::{Mark, MarkKind};
use crate::store::{
    Creation, ListEntry, ObjectWriter, RangeBuffer, Store, StoreError, StoreErrorKind, StoreResult,
};

const BLOCK_BYTES: u32 = 256 << 10;
const FANOUT: usize = 128;
/// Blocks in a pack, as where nothing can be compressed.
const PACK_BLOCKS: usize = 128;
const PACK_NODES: usize = 8192;
const STORED_BYTES: u32 = 200_000;
/// Entries of a run.
const RUN_ENTRIES: usize = 131_072;
const RUN_PACKS: usize = RUN_ENTRIES / PACK_BLOCKS;
const NODE_STORED_BYTES: usize = FANOUT * Id::BYTES + TAG_BYTES;

const SESSION: SessionId = SessionId([0x11; 16]);

/// Which objects there are, by the number in a container's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Blocks,
    Nodes,
    Garbage,
}

pub(super) struct LargeStore {
    keys: Arc<DomainKeys>,
    blocks: usize,
    /// Ids of nodes, the leaves first, and of each where its entries begin in the level below.
    nodes: Vec<Id>,
    /// Where each level begins in `nodes`.
    levels: Vec<usize>,
    written: Mutex<BTreeMap<String, Arc<[u8]>>>,
    /// Lengths of objects that nobody reads any more.
    compacted: Mutex<BTreeMap<String, u64>>,
    last_run: Mutex<Option<(String, Arc<[u8]>)>>,
}

fn block_id(number: usize) -> Id {
    Id(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn container(place: Place, kind: Kind, number: usize) -> ContainerRef {
    let mut id = [0; 32];
    id[..16].copy_from_slice(&SESSION.0);
    id[16] = kind as u8;
    id[24..].copy_from_slice(&(number as u64).to_be_bytes());
    ContainerRef { place, id: ContainerId(id) }
}

impl fmt::Debug for LargeStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LargeStore of {} blocks", self.blocks)
    }
}

impl LargeStore {
    pub(super) fn new(keys: Arc<DomainKeys>, blocks: usize) -> Self {
        let (mut nodes, mut levels): (Vec<Id>, Vec<usize>) = (Vec::new(), vec![0]);
        let id_of = |ids: &[Id]| keys.blob_id(BlobKind::ImageNode, &plain(ids));
        for first in (0..blocks).step_by(FANOUT) {
            let ids: Vec<Id> = (first..blocks.min(first + FANOUT)).map(block_id).collect();
            nodes.push(id_of(&ids));
        }
        let mut below = 0..nodes.len();
        while below.len() > 1 {
            levels.push(nodes.len());
            let upper: Vec<Id> = nodes[below.clone()].chunks(FANOUT).map(id_of).collect();
            below = nodes.len()..nodes.len() + upper.len();
            nodes.extend(upper);
        }
        let (written, compacted, last_run) = Default::default();
        let store = Self { keys, blocks, nodes, levels, written, compacted, last_run };
        store.commit();
        store
    }

    fn commit(&self) {
        let domain = self.keys.id();
        let location = BackupLocation { domain, volume: VolumeId([0x22; 16]), session: SESSION };
        let root = *self.nodes.last().unwrap();
        let image =
            ImageRoot::new(root, self.blocks as u64 * u64::from(BLOCK_BYTES), BLOCK_BYTES).unwrap();
        let manifest = Manifest::new(super::actors::draft(image), location, 0, 0);
        let outcome = manifest::seal(&self.keys, &manifest).unwrap();
        let mark = Mark::new(MarkKind::Upload, "", "").seal(&self.keys, &location.mark()).unwrap();
        let mut written = self.written.lock().unwrap();
        written.insert(location.outcome(), outcome.into());
        written.insert(location.mark(), mark.into());
        written.insert(crate::names::ack(domain, SESSION), Arc::from([]));
    }

    /// How many packs are read from or may be.
    pub(super) fn packs(&self) -> usize {
        self.blocks.div_ceil(PACK_BLOCKS)
    }

    fn node_packs(&self) -> usize {
        self.nodes.len().div_ceil(PACK_NODES)
    }

    /// The blocks' runs, then the nodes'.
    fn runs(&self) -> impl Iterator<Item = (ContainerRef, usize)> {
        let blocks = (0..self.packs().div_ceil(RUN_PACKS)).map(|run| {
            let packs = self.packs().min((run + 1) * RUN_PACKS) - run * RUN_PACKS;
            let blocks = self.blocks.min((run + 1) * RUN_ENTRIES) - run * RUN_ENTRIES;
            (container(Place::Index, Kind::Blocks, run), 8 + 33 * packs + 50 * blocks)
        });
        let nodes = (0..self.node_packs()).map(|run| {
            let nodes = self.nodes.len().min((run + 1) * PACK_NODES) - run * PACK_NODES;
            (container(Place::Index, Kind::Nodes, run), 8 + 33 + 50 * nodes)
        });
        blocks.chain(nodes)
    }

    fn run(&self, kind: Kind, number: usize) -> Arc<[u8]> {
        let groups: Vec<(ContainerRef, Vec<Entry>)> = match kind {
            Kind::Nodes => vec![(container(Place::Pack, kind, number), self.node_entries(number))],
            _ => (number * RUN_PACKS..self.packs().min((number + 1) * RUN_PACKS))
                .map(|pack| (container(Place::Pack, kind, pack), self.block_entries(pack)))
                .collect(),
        };
        let run = container(Place::Index, kind, number);
        let mut bytes = header(self.keys.repository(), run).to_vec();
        let key = self.keys.container_key(run.id).unwrap();
        let plain = encode_run(&groups).unwrap();
        bytes.extend(seal_footer(&self.keys, &key, run, u64::from(FIRST_BLOB_AT), plain).unwrap());
        bytes.into()
    }

    fn block_entries(&self, pack: usize) -> Vec<Entry> {
        let blocks = pack * PACK_BLOCKS..self.blocks.min((pack + 1) * PACK_BLOCKS);
        let entry = |(at, block)| Entry {
            id: block_id(block),
            offset: FIRST_BLOB_AT + at * STORED_BYTES,
            stored_bytes: STORED_BYTES,
            plain_bytes: BLOCK_BYTES,
            kind: BlobKind::Data.byte(),
            compression: Compression::Zstd,
        };
        (0u32..).zip(blocks).map(entry).collect()
    }

    fn node_entries(&self, pack: usize) -> Vec<Entry> {
        let nodes = pack * PACK_NODES..self.nodes.len().min((pack + 1) * PACK_NODES);
        let entry = |(at, node): (usize, usize)| {
            let plain_bytes = self.node_len(node) * Id::BYTES;
            Entry {
                id: self.nodes[node],
                offset: FIRST_BLOB_AT + (at * NODE_STORED_BYTES) as u32,
                stored_bytes: (plain_bytes + TAG_BYTES) as u32,
                plain_bytes: plain_bytes as u32,
                kind: BlobKind::ImageNode.byte(),
                compression: Compression::None,
            }
        };
        nodes.enumerate().map(entry).collect()
    }

    fn below(&self, node: usize) -> (usize, Range<usize>) {
        let level = self.levels.iter().rposition(|first| *first <= node).unwrap();
        let first = (node - self.levels[level]) * FANOUT;
        let count = match level {
            0 => self.blocks,
            _ => self.levels[level] - self.levels[level - 1],
        };
        (level, first..count.min(first + FANOUT))
    }

    fn node_len(&self, node: usize) -> usize {
        self.below(node).1.len()
    }

    fn node(&self, node: usize) -> Vec<u8> {
        let (level, below) = self.below(node);
        match level {
            0 => plain(&below.map(block_id).collect::<Vec<_>>()),
            _ => {
                let begin = self.levels[level - 1];
                plain(&self.nodes[begin + below.start..begin + below.end])
            }
        }
    }

    /// A part of a pack of nodes.
    fn node_bytes(&self, pack: usize, range: Range<u64>) -> Vec<u8> {
        let [start, end] = [range.start, range.end].map(|at| at as usize);
        let first = (start - FIRST_BLOB_AT as usize) / NODE_STORED_BYTES;
        let id = container(Place::Pack, Kind::Nodes, pack).id;
        let key = self.keys.container_key(id).unwrap();
        let mut bytes = vec![0; end - start];
        for at in first..PACK_NODES {
            let offset = FIRST_BLOB_AT as usize + at * NODE_STORED_BYTES;
            let node = pack * PACK_NODES + at;
            if offset >= end || node >= self.nodes.len() {
                break;
            }
            // Sealed by the code that seals all others; a node's bytes do not compress.
            let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
            let mut segment = Segment::default();
            let kind = BlobKind::ImageNode.byte();
            segment.push(&mut compressor, kind, self.nodes[node], &self.node(node)).unwrap();
            let sealed =
                segment.seal(&self.keys, &key, offset as u32, &mut Vec::new()).unwrap().to_vec();
            let begin = offset.max(start);
            let finish = (offset + sealed.len()).min(end);
            if begin < finish {
                bytes[begin - start..finish - start]
                    .copy_from_slice(&sealed[begin - offset..finish - offset]);
            }
        }
        bytes
    }

    /// What a container's name says.
    fn parse(&self, key: &str) -> Option<(Place, Kind, usize)> {
        let (folder, name) = key.rsplit_once('/')?;
        let place = match folder.rsplit_once('/')?.1 {
            "pack" => Place::Pack,
            "index" => Place::Index,
            _ => return None,
        };
        let id: ContainerId = name.parse().ok()?;
        if id.session() != SESSION {
            return None;
        }
        let kind = match id.0[16] {
            0 => Kind::Blocks,
            1 => Kind::Nodes,
            _ => Kind::Garbage,
        };
        let number = u64::from_be_bytes(*id.0.last_chunk()?);
        Some((place, kind, number as usize))
    }

    fn synthetic(&self, prefix: &str, visit: &mut dyn FnMut(String, u64)) {
        let domain = self.keys.id();
        if prefix == crate::names::packs(domain) {
            let size = PACK_BLOCKS as u64 * u64::from(STORED_BYTES);
            for pack in 0..self.packs() {
                visit(container(Place::Pack, Kind::Blocks, pack).key(domain), size);
                if pack % 100 == 0 {
                    visit(container(Place::Pack, Kind::Garbage, pack).key(domain), size);
                }
            }
            for pack in 0..self.node_packs() {
                let entries = self.node_entries(pack);
                let size = entries.last().map_or(0, Entry::end);
                visit(container(Place::Pack, Kind::Nodes, pack).key(domain), size);
            }
        }
        if prefix == crate::names::indexes(domain) {
            for (run, plain_bytes) in self.runs() {
                visit(run.key(domain), (64 + plain_bytes + TAG_BYTES + 16) as u64);
            }
        }
    }
}

fn plain(ids: &[Id]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.0).collect()
}

fn error(kind: StoreErrorKind, key: &str) -> StoreError {
    StoreError { kind, action: "ask for", key: key.to_owned(), place: "large".into(), cause: None }
}

impl Store for LargeStore {
    fn url(&self) -> String {
        "large".to_owned()
    }

    fn get(&self, key: &str, _: u64) -> StoreResult<Vec<u8>> {
        let found = self.written.lock().unwrap().get(key).map(|bytes| bytes.to_vec());
        found.ok_or_else(|| error(StoreErrorKind::NotFound, key))
    }

    fn get_range(&self, key: &str, range: Range<u64>, out: &mut RangeBuffer) -> StoreResult<()> {
        let length = (range.end - range.start) as usize;
        match self.parse(key) {
            Some((Place::Pack, Kind::Nodes, pack)) => {
                out.room(length).copy_from_slice(&self.node_bytes(pack, range));
            }
            Some((Place::Index, kind, number)) => {
                let mut last = self.last_run.lock().unwrap();
                if last.as_ref().is_none_or(|(name, _)| name != key) {
                    *last = Some((key.to_owned(), self.run(kind, number)));
                }
                let (_, bytes) = last.as_ref().unwrap();
                let part = &bytes[range.start as usize..range.end as usize];
                out.room(length).copy_from_slice(part);
            }
            _ => return Err(error(StoreErrorKind::NotFound, key)),
        }
        Ok(())
    }

    fn size(&self, key: &str) -> StoreResult<u64> {
        self.get(key, 0).map(|bytes| bytes.len() as u64)
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ListEntry) -> ControlFlow<()>,
    ) -> StoreResult<()> {
        let mut show = |key, size_bytes| {
            let _ = visit(ListEntry { key, size_bytes });
        };
        self.synthetic(prefix, &mut show);
        for (key, bytes) in self.written.lock().unwrap().iter() {
            if key.starts_with(prefix) {
                show(key.clone(), bytes.len() as u64);
            }
        }
        for (key, size) in self.compacted.lock().unwrap().iter() {
            if key.starts_with(prefix) {
                show(key.clone(), *size);
            }
        }
        Ok(())
    }

    fn list_folders(&self, _: &str) -> StoreResult<Vec<String>> {
        Ok(vec![self.keys.id().to_string()])
    }

    fn create(&self, key: &str, bytes: &[u8]) -> StoreResult<Creation> {
        if key.contains("/compacted/") {
            self.compacted.lock().unwrap().insert(key.to_owned(), bytes.len() as u64);
        } else {
            self.written.lock().unwrap().insert(key.to_owned(), bytes.into());
        }
        Ok(Creation::Created)
    }

    fn writer(&self, key: &str, _: u64) -> StoreResult<Box<dyn ObjectWriter>> {
        Err(error(StoreErrorKind::PermissionDenied, key))
    }

    fn delete(&self, key: &str) -> StoreResult<()> {
        self.written.lock().unwrap().remove(key);
        Ok(())
    }

    fn has_conditional_writes(&self) -> bool {
        true
    }
}
