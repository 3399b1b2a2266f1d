//! A store that fails the requests it is told to.

use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex};

use thinmover_repository::store::{
    Creation, ListEntry, ObjectWriter, RangeBuffer, Store, StoreErrorKind, StoreResult,
};

use super::memory::error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing happens, and it says so.
    Before(StoreErrorKind),
    /// It happens, and the answer is lost.
    After(StoreErrorKind),
    /// It happens, the answer is lost, and the request is sent again.
    Twice,
    /// It happens, after an attempt of which nobody knows.
    InDoubt,
    /// Half of what an object writer was given is refused.
    Midway(StoreErrorKind),
}

/// Asked for every request: its verb (`create`, `get`, …) and key.
type Plan = Box<dyn FnMut(&str, &str) -> Option<Fault> + Send>;

#[derive(Clone)]
pub(crate) struct FaultyStore {
    inner: Arc<dyn Store>,
    plan: Arc<Mutex<Plan>>,
}

impl FaultyStore {
    pub(crate) fn new(
        inner: Arc<dyn Store>,
        plan: impl FnMut(&str, &str) -> Option<Fault> + Send + 'static,
    ) -> Self {
        Self { inner, plan: Arc::new(Mutex::new(Box::new(plan))) }
    }

    fn fault(&self, verb: &str, key: &str) -> Option<Fault> {
        (self.plan.lock().unwrap())(verb, key)
    }

    fn run<T>(
        &self,
        verb: &str,
        key: &str,
        request: impl FnMut() -> StoreResult<T>,
    ) -> StoreResult<T> {
        with(self.fault(verb, key), key, request)
    }
}

fn with<T>(
    fault: Option<Fault>,
    key: &str,
    mut request: impl FnMut() -> StoreResult<T>,
) -> StoreResult<T> {
    match fault {
        None | Some(Fault::InDoubt) => request(),
        Some(Fault::Before(kind) | Fault::Midway(kind)) => Err(error(kind, key)),
        Some(Fault::After(kind)) => {
            request()?;
            Err(error(kind, key))
        }
        Some(Fault::Twice) => {
            request()?;
            request()
        }
    }
}

fn doubt(creation: Creation) -> Creation {
    match creation {
        Creation::Created | Creation::CreatedInDoubt => Creation::CreatedInDoubt,
        _ => Creation::AlreadyExistsInDoubt,
    }
}

impl std::fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FaultyStore")
    }
}

impl Store for FaultyStore {
    fn url(&self) -> String {
        self.inner.url()
    }

    fn get(&self, key: &str, max_bytes: u64) -> StoreResult<Vec<u8>> {
        self.run("get", key, || self.inner.get(key, max_bytes))
    }

    fn get_range(&self, key: &str, range: Range<u64>, out: &mut RangeBuffer) -> StoreResult<()> {
        self.run("get", key, || self.inner.get_range(key, range.clone(), out))
    }

    fn size(&self, key: &str) -> StoreResult<u64> {
        self.run("get", key, || self.inner.size(key))
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ListEntry) -> ControlFlow<()>,
    ) -> StoreResult<()> {
        self.run("list", prefix, || self.inner.list(prefix, visit))
    }

    fn list_folders(&self, prefix: &str) -> StoreResult<Vec<String>> {
        self.run("list", prefix, || self.inner.list_folders(prefix))
    }

    fn create(&self, key: &str, bytes: &[u8]) -> StoreResult<Creation> {
        let fault = self.fault("create", key);
        let creation = with(fault, key, || self.inner.create(key, bytes))?;
        Ok(if fault == Some(Fault::InDoubt) { doubt(creation) } else { creation })
    }

    fn writer(&self, key: &str, expected_bytes: u64) -> StoreResult<Box<dyn ObjectWriter>> {
        let fault = self.fault("create", key);
        if let Some(Fault::Before(kind)) = fault {
            return Err(error(kind, key));
        }
        let inner = self.inner.writer(key, expected_bytes)?;
        Ok(Box::new(Writer { inner, fault, key: key.to_owned() }))
    }

    fn delete(&self, key: &str) -> StoreResult<()> {
        self.run("delete", key, || self.inner.delete(key))
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
    fault: Option<Fault>,
    key: String,
}

impl ObjectWriter for Writer {
    fn append(&mut self, bytes: &[u8]) -> StoreResult<()> {
        if let Some(Fault::Midway(kind)) = self.fault {
            self.inner.append(&bytes[..bytes.len() / 2])?;
            return Err(error(kind, &self.key));
        }
        self.inner.append(bytes)
    }

    fn finish(self: Box<Self>) -> StoreResult<Creation> {
        let creation = self.inner.finish()?;
        match self.fault {
            Some(Fault::After(kind)) => Err(error(kind, &self.key)),
            Some(Fault::Twice) => Ok(Creation::AlreadyExists),
            Some(Fault::InDoubt) => Ok(doubt(creation)),
            _ => Ok(creation),
        }
    }
}
