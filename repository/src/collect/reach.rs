//! What backups reach, as ids.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::nodes::{Found, NodeTable};
use super::spill::{Sorted, Spill};
use crate::container::{ENTRY_BYTES, Entry};
use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::id::{BlobKind, Id};
use crate::image::{BlobSource, for_each_id};
use crate::manifest::Manifest;
use crate::names::ContainerRef;
use crate::restore::read_located;
use crate::store::Store;

/// The first half of an id: two of 2^34 blobs agree in it with a probability of 2^-61, and then one
/// more is spared.
pub(super) const SHORT_BYTES: usize = 16;
pub(super) type Short = [u8; SHORT_BYTES];

/// The ids that backups reach.
pub(super) struct Reach {
    folder: PathBuf,
    tables: Vec<NodeTable>,
    /// Which nodes of each table were seen.
    seen: Vec<Bits>,
    ids: Spill<SHORT_BYTES>,
}

/// Where nodes are read from.
pub(super) struct Nodes<'n> {
    pub(super) store: &'n dyn Store,
    pub(super) keys: &'n DomainKeys,
    /// By number, as the tables have them.
    pub(super) containers: &'n [ContainerRef],
    /// What is read only where there is no other holder: it may be gone.
    pub(super) is_doubtful: &'n dyn Fn(&ContainerRef) -> bool,
}

impl Reach {
    pub(super) fn new(folder: &Path, memory_bytes: usize) -> Self {
        let ids = Spill::new(folder, memory_bytes);
        Self { folder: folder.to_owned(), tables: Vec::new(), seen: Vec::new(), ids }
    }

    /// Adds nodes that backups may be made of.
    pub(super) fn add_nodes(&mut self, entries: &mut Spill<ENTRY_BYTES>) -> Result<()> {
        let table = NodeTable::new(&self.folder, entries)?;
        self.seen.push(Bits::new(table.len()));
        self.tables.push(table);
        Ok(())
    }

    /// Adds all that a backup reaches. After an error some of it may have been added, and what another
    /// backup shares with it is still added by that.
    ///
    /// # Errors
    /// `CollectionBlocked` if that cannot be told, `Scratch`, and what the store reports.
    pub(super) fn add(&mut self, nodes: &Nodes<'_>, backup: &Manifest) -> Result<()> {
        let seen = self.seen.clone();
        self.walk(nodes, backup).inspect_err(|_| self.seen = seen)
    }

    fn walk(&mut self, nodes: &Nodes<'_>, backup: &Manifest) -> Result<()> {
        let blocked = |error| blocked_by(format!("backup {}", backup.id), error);
        let image = backup.image_root().map_err(blocked)?;
        let mapped = backup.mapped_root().map_err(blocked)?.map(|list| list.bitmap());
        let (tables, seen) = (&self.tables, &mut self.seen);
        let trees = Trees { nodes, tables, object: backup.location().outcome() };
        // Both closures add ids, never at once.
        let ids = RefCell::new(&mut self.ids);
        let add = |id: Id| ids.borrow_mut().push(short(&id));
        for root in [Some(image), mapped].into_iter().flatten() {
            let mut enter = |id: Id| {
                let (table, found) = find(tables, &id)?;
                let is_new = seen[table].insert(found.rank);
                if is_new {
                    add(id)?;
                }
                Ok(is_new)
            };
            for_each_id(&trees, root, &mut enter, &mut |id| add(id)).map_err(blocked)?;
        }
        Ok(())
    }

    /// The ids in order.
    pub(super) fn sorted(&mut self) -> Result<Sorted<'_, SHORT_BYTES>> {
        self.ids.sorted()
    }
}

/// The table that has a node, and what it says.
fn find(tables: &[NodeTable], id: &Id) -> Result<(usize, Found)> {
    for (number, table) in tables.iter().enumerate() {
        if let Some(found) = table.find(id)? {
            return Ok((number, found));
        }
    }
    Err(Error::BlockMissing { id: *id, hint: String::new() })
}

/// One backup's trees.
struct Trees<'t> {
    nodes: &'t Nodes<'t>,
    tables: &'t [NodeTable],
    object: String,
}

impl Trees<'_> {
    /// The best of all holders: one table may name only what is gone.
    fn locate(&self, id: &Id) -> Result<(ContainerRef, Entry)> {
        let mut best: Option<(bool, (ContainerRef, Entry))> = None;
        for table in self.tables {
            for (number, entry) in table.find(id)?.into_iter().flat_map(|found| found.holders) {
                let Some(container) = self.nodes.containers.get(number as usize) else { continue };
                let is_doubtful = (self.nodes.is_doubtful)(container);
                if best.as_ref().is_none_or(|(before, _)| *before && !is_doubtful) {
                    best = Some((is_doubtful, (*container, entry)));
                }
            }
        }
        let hint = String::new();
        best.map(|(_, holder)| holder).ok_or(Error::BlockMissing { id: *id, hint })
    }
}

impl BlobSource for Trees<'_> {
    fn read_blobs(
        &self,
        kind: BlobKind,
        bytes_max: usize,
        ids: &[Id],
    ) -> Result<HashMap<Id, Vec<u8>>> {
        let located = ids.iter().map(|id| self.locate(id)).collect::<Result<Vec<_>>>()?;
        let Nodes { store, keys, .. } = self.nodes;
        read_located(*store, keys, &self.object, kind, bytes_max, located)
    }

    fn object(&self) -> &str {
        &self.object
    }
}

/// A set of numbers below a bound.
#[derive(Clone, Debug)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(bound: usize) -> Self {
        Self(vec![0; bound.div_ceil(64)])
    }

    /// Whether the number was not in it.
    fn insert(&mut self, number: usize) -> bool {
        let Some(word) = self.0.get_mut(number / 64) else { return false };
        let bit = 1 << (number % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

pub(super) fn short(id: &Id) -> Short {
    id.0.first_chunk().copied().unwrap_or_default()
}

/// Damage makes collection impossible; anything else is the store's.
pub(super) fn blocked_by(backup: String, error: Error) -> Error {
    match error {
        Error::Damaged { .. } | Error::BlockMissing { .. } | Error::NewerFormat { .. } => {
            Error::CollectionBlocked { backup, cause: Box::new(error) }
        }
        error => error,
    }
}
