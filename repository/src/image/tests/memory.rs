//! Blobs in memory that count what is asked of them, for tests.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;

use super::super::blobs::{BlobSink, BlobSource};
use crate::error::{Error, Result};
use crate::id::{BlobKind, Id};

#[derive(Default)]
pub(crate) struct MemoryBlobs {
    blobs: Mutex<HashMap<Id, (BlobKind, Vec<u8>)>>,
    read: Mutex<Vec<Id>>,
    stored: Mutex<Vec<Id>>,
    most_bytes_read: Mutex<usize>,
}

impl MemoryBlobs {
    /// The ids of blobs read since the last call, once for each time.
    pub(crate) fn take_read(&self) -> Vec<Id> {
        std::mem::take(&mut self.read.lock().unwrap())
    }

    /// The ids of blobs handed in since the last call, known or not.
    pub(crate) fn take_stored(&self) -> Vec<Id> {
        std::mem::take(&mut self.stored.lock().unwrap())
    }

    pub(crate) fn ids(&self) -> BTreeSet<Id> {
        self.blobs.lock().unwrap().keys().copied().collect()
    }

    pub(crate) fn remove(&self, id: &Id) {
        self.blobs.lock().unwrap().remove(id);
    }

    /// What is read as `id` from now on.
    pub(crate) fn replace(&self, id: &Id, bytes: Vec<u8>) {
        self.blobs.lock().unwrap().get_mut(id).unwrap().1 = bytes;
    }

    /// The longest answer so far.
    pub(crate) fn most_bytes_read(&self) -> usize {
        *self.most_bytes_read.lock().unwrap()
    }
}

impl BlobSource for MemoryBlobs {
    fn read_blobs(
        &self,
        kind: BlobKind,
        bytes_max: usize,
        ids: &[Id],
    ) -> Result<HashMap<Id, Vec<u8>>> {
        let blobs = self.blobs.lock().unwrap();
        self.read.lock().unwrap().extend(ids);
        let read = |id: &Id| match blobs.get(id) {
            Some((found, bytes)) if *found == kind && bytes.len() <= bytes_max => {
                Ok((*id, bytes.clone()))
            }
            Some(_) => Err(Error::damaged("memory", "another kind of blob")),
            None => Err(Error::BlockMissing { id: *id, hint: String::new() }),
        };
        let bodies: HashMap<Id, Vec<u8>> = ids.iter().map(read).collect::<Result<_>>()?;
        let bytes: usize = bodies.values().map(Vec::len).sum();
        let mut most = self.most_bytes_read.lock().unwrap();
        *most = bytes.max(*most);
        Ok(bodies)
    }

    fn object(&self) -> &str {
        "memory"
    }
}

impl BlobSink for &MemoryBlobs {
    fn store_blob(&mut self, kind: BlobKind, plain: &[u8]) -> Result<Id> {
        let mut hasher = blake3::Hasher::new();
        let id = Id(*hasher.update(&[kind.byte()]).update(plain).finalize().as_bytes());
        self.blobs.lock().unwrap().insert(id, (kind, plain.to_vec()));
        self.stored.lock().unwrap().push(id);
        Ok(id)
    }

    fn settle(&mut self) -> Result<()> {
        Ok(())
    }
}
