//! A store in memory whose bytes can be changed behind the repository's back.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex};

use thinmover_repository::store::{
    Creation, ListEntry, ObjectWriter, RangeBuffer, Store, StoreError, StoreErrorKind, StoreResult,
};

type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryStore {
    objects: Objects,
    /// Whether a create replaces what is there, as in a store that ignores the condition.
    overwrites: bool,
}

impl MemoryStore {
    pub(crate) fn unconditional() -> Self {
        Self { overwrites: true, ..Self::default() }
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.objects.lock().unwrap().keys().cloned().collect()
    }

    pub(crate) fn bytes(&self, key: &str) -> Vec<u8> {
        self.objects.lock().unwrap()[key].clone()
    }

    pub(crate) fn change(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.objects.lock().unwrap().get_mut(key).unwrap());
    }

    pub(crate) fn put(&self, key: &str, bytes: Vec<u8>) {
        self.objects.lock().unwrap().insert(key.to_owned(), bytes);
    }

    pub(crate) fn remove(&self, key: &str) -> Vec<u8> {
        self.objects.lock().unwrap().remove(key).unwrap()
    }
}

pub(crate) fn error(kind: StoreErrorKind, key: &str) -> StoreError {
    let place = "memory:".to_owned();
    StoreError { kind, action: "use", key: key.to_owned(), place, cause: None }
}

fn check_key(key: &str) -> StoreResult<()> {
    let is_valid = !key.is_empty()
        && key.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-'))
        });
    if is_valid { Ok(()) } else { Err(error(StoreErrorKind::InvalidKey, key)) }
}

impl Store for MemoryStore {
    fn url(&self) -> String {
        "memory:".to_owned()
    }

    fn get(&self, key: &str, max_bytes: u64) -> StoreResult<Vec<u8>> {
        if self.size(key)? > max_bytes {
            return Err(error(StoreErrorKind::TooLarge, key));
        }
        Ok(self.bytes(key))
    }

    fn get_range(&self, key: &str, range: Range<u64>, out: &mut RangeBuffer) -> StoreResult<()> {
        self.size(key)?;
        let objects = self.objects.lock().unwrap();
        let piece = objects[key].get(range.start as usize..range.end as usize);
        let piece = piece.ok_or_else(|| error(StoreErrorKind::TooShort, key))?;
        out.room(piece.len()).copy_from_slice(piece);
        Ok(())
    }

    fn size(&self, key: &str) -> StoreResult<u64> {
        check_key(key)?;
        let objects = self.objects.lock().unwrap();
        let bytes = objects.get(key).ok_or_else(|| error(StoreErrorKind::NotFound, key))?;
        Ok(bytes.len() as u64)
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ListEntry) -> ControlFlow<()>,
    ) -> StoreResult<()> {
        if let Some(folder) = prefix.strip_suffix('/') {
            check_key(folder)?;
        } else if !prefix.is_empty() {
            return Err(error(StoreErrorKind::InvalidKey, prefix));
        }
        let entries: Vec<ListEntry> = {
            let objects = self.objects.lock().unwrap();
            let below = objects.range(prefix.to_owned()..);
            below
                .take_while(|(key, _)| key.starts_with(prefix))
                .map(|(key, bytes)| ListEntry { key: key.clone(), size_bytes: bytes.len() as u64 })
                .collect()
        };
        for entry in entries {
            if visit(entry).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn list_folders(&self, prefix: &str) -> StoreResult<Vec<String>> {
        let mut folders = Vec::new();
        self.list(prefix, &mut |entry| {
            folders.extend(entry.key[prefix.len()..].split_once('/').map(|(name, _)| name.into()));
            ControlFlow::Continue(())
        })?;
        folders.dedup();
        Ok(folders)
    }

    fn create(&self, key: &str, bytes: &[u8]) -> StoreResult<Creation> {
        check_key(key)?;
        let mut objects = self.objects.lock().unwrap();
        if objects.contains_key(key) && !self.overwrites {
            return Ok(Creation::AlreadyExists);
        }
        objects.insert(key.to_owned(), bytes.to_vec());
        Ok(Creation::Created)
    }

    fn writer(&self, key: &str, _: u64) -> StoreResult<Box<dyn ObjectWriter>> {
        check_key(key)?;
        Ok(Box::new(Writer { store: self.clone(), key: key.to_owned(), bytes: Vec::new() }))
    }

    fn delete(&self, key: &str) -> StoreResult<()> {
        self.size(key)?;
        self.remove(key);
        Ok(())
    }

    fn has_conditional_writes(&self) -> bool {
        !self.overwrites
    }
}

struct Writer {
    store: MemoryStore,
    key: String,
    bytes: Vec<u8>,
}

impl ObjectWriter for Writer {
    fn append(&mut self, bytes: &[u8]) -> StoreResult<()> {
        self.bytes.extend(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> StoreResult<Creation> {
        self.store.create(&self.key, &self.bytes)
    }
}
