//! What is read through the host's cache: sealed objects that are known to be listed, and the small
//! blobs that trees are made of. Both are proven when they are read, from wherever they come.

use crate::crypto::DomainKeys;
use crate::error::Result;
use crate::id::{BlobKind, Id};
use crate::sealed::{self, SealedKind};
use crate::store::Store;

/// An object that was listed and never changes, as `open` understands it; `None` if it is gone by now.
pub(crate) fn read_listed<T>(
    store: &dyn Store,
    key: &str,
    max_bytes: u64,
    open: impl Fn(&[u8]) -> Result<T>,
) -> Result<Option<T>> {
    if let Some(cache) = store.cache()
        && let Some(bytes) = cache.get(key)
    {
        match open(&bytes) {
            Ok(read) => return Ok(Some(read)),
            Err(_) => cache.forget(key),
        }
    }
    let bytes = match store.get(key, max_bytes) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let read = open(&bytes)?;
    if let Some(cache) = store.cache() {
        cache.put(key, &bytes);
    }
    Ok(Some(read))
}

/// A blob of a tree, if it is kept.
pub(crate) fn blob(
    store: &dyn Store,
    keys: &DomainKeys,
    kind: BlobKind,
    id: &Id,
) -> Option<Vec<u8>> {
    let cache = store.cache().filter(|_| is_kept(kind))?;
    let name = name(keys, kind, id);
    let bytes = cache.get(&name)?;
    let plain = sealed::open_kind(keys, &name, SealedKind::Kept, &bytes);
    plain.inspect_err(|_| cache.forget(&name)).ok()
}

/// Keeps a blob, if it is of a tree.
pub(crate) fn keep_blob(
    store: &dyn Store,
    keys: &DomainKeys,
    kind: BlobKind,
    id: &Id,
    plain: &[u8],
) {
    let Some(cache) = store.cache().filter(|_| is_kept(kind)) else { return };
    let name = name(keys, kind, id);
    if let Ok(bytes) = sealed::seal(keys, &name, SealedKind::Kept, plain.to_vec()) {
        cache.put(&name, &bytes);
    }
}

fn is_kept(kind: BlobKind) -> bool {
    kind != BlobKind::Data
}

fn name(keys: &DomainKeys, kind: BlobKind, id: &Id) -> String {
    format!("kept/{}/{}/{id}", keys.id(), kind.byte())
}
