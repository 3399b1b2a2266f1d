//! A store that writes down what is asked of it, in order.

use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex};

use thinmover_repository::store::{
    Creation, ListEntry, ObjectWriter, RangeBuffer, Store, StoreResult,
};

#[derive(Clone, Debug)]
pub(crate) struct RecordingStore {
    inner: Arc<dyn Store>,
    log: Arc<Mutex<Vec<String>>>,
}

impl RecordingStore {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, log: Arc::default() }
    }

    /// The requests since the last call, as `verb kind`: names of hex are left out.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    fn note(&self, verb: &str, key: &str) {
        self.log.lock().unwrap().push(format!("{verb} {}", kind_of(key)));
    }
}

/// `domain/00ff…/pack/00ff…` → `pack`, and what ends in `.tomb` → `tomb`.
pub(crate) fn kind_of(key: &str) -> &str {
    if key.contains("/retention/")
        && let Some((_, says)) = key.rsplit_once('.')
    {
        return says;
    }
    key.split('/').find(|part| part.len() < 32 && *part != "domain").unwrap_or_default()
}

impl Store for RecordingStore {
    fn url(&self) -> String {
        self.inner.url()
    }

    fn get(&self, key: &str, max_bytes: u64) -> StoreResult<Vec<u8>> {
        self.note("get", key);
        self.inner.get(key, max_bytes)
    }

    fn get_range(&self, key: &str, range: Range<u64>, out: &mut RangeBuffer) -> StoreResult<()> {
        self.note("get", key);
        self.inner.get_range(key, range, out)
    }

    fn size(&self, key: &str) -> StoreResult<u64> {
        self.note("size", key);
        self.inner.size(key)
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ListEntry) -> ControlFlow<()>,
    ) -> StoreResult<()> {
        self.note("list", prefix);
        self.inner.list(prefix, visit)
    }

    fn list_folders(&self, prefix: &str) -> StoreResult<Vec<String>> {
        self.note("list", prefix);
        self.inner.list_folders(prefix)
    }

    fn create(&self, key: &str, bytes: &[u8]) -> StoreResult<Creation> {
        let creation = self.inner.create(key, bytes);
        self.note("create", key);
        creation
    }

    fn writer(&self, key: &str, expected_bytes: u64) -> StoreResult<Box<dyn ObjectWriter>> {
        let inner = self.inner.writer(key, expected_bytes)?;
        Ok(Box::new(Writer { inner, store: self.clone(), key: key.to_owned() }))
    }

    fn delete(&self, key: &str) -> StoreResult<()> {
        self.note("delete", key);
        self.inner.delete(key)
    }

    fn has_conditional_writes(&self) -> bool {
        self.inner.has_conditional_writes()
    }

    fn probe_conditional_writes(&self) -> StoreResult<bool> {
        self.inner.probe_conditional_writes()
    }
}

struct Writer {
    inner: Box<dyn ObjectWriter>,
    store: RecordingStore,
    key: String,
}

impl ObjectWriter for Writer {
    fn append(&mut self, bytes: &[u8]) -> StoreResult<()> {
        self.inner.append(bytes)
    }

    fn finish(self: Box<Self>) -> StoreResult<Creation> {
        let creation = self.inner.finish();
        self.store.note("create", &self.key);
        creation
    }
}
