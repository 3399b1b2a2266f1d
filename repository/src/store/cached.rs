//! A store with a cache beside it. It passes every request on: only who knows that an object exists and
//! never changes asks the cache.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use super::{Cache, Creation, GiveUp, ListEntry, ObjectWriter, RangeBuffer, Store, StoreResult};

#[derive(Debug)]
pub(crate) struct CachedStore {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) cache: Arc<Cache>,
}

impl Store for CachedStore {
    fn cache(&self) -> Option<&Cache> {
        Some(&self.cache)
    }

    fn until(&self, give_up: &GiveUp) -> Option<Arc<dyn Store>> {
        let inner = self.inner.until(give_up)?;
        Some(Arc::new(Self { inner, cache: Arc::clone(&self.cache) }))
    }

    fn url(&self) -> String {
        self.inner.url()
    }

    fn get(&self, key: &str, max_bytes: u64) -> StoreResult<Vec<u8>> {
        self.inner.get(key, max_bytes)
    }

    fn get_range(&self, key: &str, range: Range<u64>, out: &mut RangeBuffer) -> StoreResult<()> {
        self.inner.get_range(key, range, out)
    }

    fn size(&self, key: &str) -> StoreResult<u64> {
        self.inner.size(key)
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ListEntry) -> ControlFlow<()>,
    ) -> StoreResult<()> {
        self.inner.list(prefix, visit)
    }

    fn list_folders(&self, prefix: &str) -> StoreResult<Vec<String>> {
        self.inner.list_folders(prefix)
    }

    fn create(&self, key: &str, bytes: &[u8]) -> StoreResult<Creation> {
        self.inner.create(key, bytes)
    }

    fn writer(&self, key: &str, expected_bytes: u64) -> StoreResult<Box<dyn ObjectWriter>> {
        self.inner.writer(key, expected_bytes)
    }

    fn writer_memory_bytes(&self) -> usize {
        self.inner.writer_memory_bytes()
    }

    fn delete(&self, key: &str) -> StoreResult<()> {
        self.inner.delete(key)
    }

    fn has_conditional_writes(&self) -> bool {
        self.inner.has_conditional_writes()
    }

    fn probe_conditional_writes(&self) -> StoreResult<bool> {
        self.inner.probe_conditional_writes()
    }
}
