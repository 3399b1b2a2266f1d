//! Reading blobs whose places are known.

use std::collections::HashMap;

use super::image::sealed;
use super::plan::{PlannedBlob, plan};
use crate::container::{BlobOpener, Entry};
use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::id::{BlobKind, Id};
use crate::names::ContainerRef;
use crate::store::{RangeBuffer, Store};

/// The proven plaintexts of blobs of one kind, each of at most `bytes_max`. `object` is what refers to
/// them, for messages.
pub(crate) fn read_located(
    store: &dyn Store,
    keys: &DomainKeys,
    object: &str,
    kind: BlobKind,
    bytes_max: usize,
    located: impl IntoIterator<Item = (ContainerRef, Entry)>,
) -> Result<HashMap<Id, Vec<u8>>> {
    let mut blobs = Vec::new();
    for (container, entry) in located {
        if entry.kind != kind.byte() || entry.plain_bytes as usize > bytes_max {
            let reason = format!("{} is not the kind of blob that belongs there", entry.id);
            return Err(Error::damaged(object, reason));
        }
        blobs.push((container, PlannedBlob { blocks: Vec::new(), entry }));
    }
    let mut opener = BlobOpener::new(keys)?;
    let mut bytes = RangeBuffer::default();
    let mut bodies = HashMap::with_capacity(blobs.len());
    for read in plan(blobs, |container| container.key(keys.id())) {
        store.get_range(&read.object, read.offset..read.offset + read.length, &mut bytes)?;
        for blob in &read.blobs {
            let mut plain = Vec::new();
            opener.open(read.container, &blob.entry, sealed(&read, &bytes, blob), &mut plain)?;
            bodies.insert(blob.id(), plain);
        }
    }
    Ok(bodies)
}
