//! What backups reach, as ids.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::spill::Spill;
use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::image::for_each_id;
use crate::index::DomainIndex;
use crate::manifest::Manifest;
use crate::restore::Image;
use crate::store::Store;

/// The first half of an id: two of 2^34 blobs agree in it with a probability of 2^-61, and then one
/// more is spared.
pub(super) const SHORT_BYTES: usize = 16;
pub(super) type Short = [u8; SHORT_BYTES];

/// A slot of a hash set of such halves, at its worst load, and the old table while it grows.
const NODE_BYTES: usize = 56;

/// The ids that backups reach.
pub(super) struct Reach {
    /// As large as its nodes may become: what is below one that is not remembered is walked again.
    nodes_max: usize,
    nodes: HashSet<Short>,
    ids: Spill<SHORT_BYTES>,
}

impl Reach {
    pub(super) fn new(folder: &Path, memory_bytes: usize) -> Self {
        Self {
            nodes_max: memory_bytes / 2 / NODE_BYTES,
            nodes: HashSet::new(),
            ids: Spill::new(folder, memory_bytes / 2),
        }
    }

    /// Adds all that a backup reaches.
    ///
    /// # Errors
    /// `CollectionBlocked` if that cannot be told, `Scratch`, and what the store reports.
    pub(super) fn add(
        &mut self,
        store: &Arc<dyn Store>,
        keys: DomainKeys,
        backup: &Manifest,
        index: &Arc<DomainIndex>,
    ) -> Result<()> {
        let blocked = |error| blocked_by(format!("backup {}", backup.id), error);
        let image = Image::with_index(Arc::clone(store), keys, backup, Arc::clone(index))
            .map_err(blocked)?;
        let roots = [Some(image.root()), image.mapped().map(|list| list.bitmap())];
        let (nodes_max, nodes) = (self.nodes_max, &mut self.nodes);
        // Both closures add ids, never at once.
        let ids = RefCell::new(&mut self.ids);
        let add = |id: Id| ids.borrow_mut().push(short(&id));
        for root in roots.into_iter().flatten() {
            let mut enter = |id: Id| {
                if nodes.contains(&short(&id)) {
                    return Ok(false);
                }
                add(id)?;
                if nodes.len() < nodes_max {
                    nodes.insert(short(&id));
                }
                Ok(true)
            };
            for_each_id(&image, root, &mut enter, &mut |id| add(id)).map_err(blocked)?;
        }
        Ok(())
    }

    /// The ids, sorted, in 256 pieces by their first byte.
    pub(super) fn buckets(&mut self) -> impl Iterator<Item = Result<Vec<Short>>> {
        self.ids.buckets()
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
