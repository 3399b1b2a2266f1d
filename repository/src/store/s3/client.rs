//! What a store and its writers share: the connection, the threads, and where everything is.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::aws::AmazonS3;
use object_store::path::Path;
use tokio::runtime::{Handle, Runtime};

use super::conditional::Conditions;
use crate::store::key::{is_valid_key, is_valid_prefix};
use crate::store::{GiveUp, StoreError, StoreErrorKind, StoreResult};

/// The bounds of a request's attempts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) attempt: Duration,
    pub(super) retry: Duration,
}

/// One job's way to what all share; cheap to clone.
#[derive(Clone)]
pub(super) struct Client {
    shared: Arc<Shared>,
    give_up: GiveUp,
}

struct Shared {
    s3: AmazonS3,
    url: String,
    /// The address and the endpoint, for messages.
    place: String,
    /// Empty, or ending in a slash.
    prefix: String,
    limits: Limits,
    conditions: Conditions,
    /// Whether the store has ever answered: until then a wrong address is the likeliest reason.
    has_answered: AtomicBool,
    /// Always there until it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Client {
    pub(super) fn new(
        s3: AmazonS3,
        (url, place, prefix): (String, String, String),
        limits: Limits,
        conditions: Conditions,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("thinmover-s3")
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let shared = Shared {
            s3,
            url,
            place,
            prefix: if prefix.is_empty() { prefix } else { format!("{prefix}/") },
            limits,
            conditions,
            has_answered: AtomicBool::new(false),
            runtime: Some(runtime),
            handle,
        };
        Ok(Self { shared: Arc::new(shared), give_up: GiveUp::default() })
    }

    /// The same, until `give_up` says so.
    pub(super) fn until(&self, give_up: &GiveUp) -> Self {
        Self { shared: Arc::clone(&self.shared), give_up: give_up.clone() }
    }

    pub(super) fn give_up(&self) -> &GiveUp {
        &self.give_up
    }

    pub(super) fn s3(&self) -> &AmazonS3 {
        &self.shared.s3
    }

    pub(super) fn url(&self) -> &str {
        &self.shared.url
    }

    pub(super) fn limits(&self) -> Limits {
        self.shared.limits
    }

    pub(super) fn conditions(&self) -> &Conditions {
        &self.shared.conditions
    }

    pub(super) fn has_answered(&self) -> bool {
        self.shared.has_answered.load(Ordering::Relaxed)
    }

    pub(super) fn note_answered(&self) {
        self.shared.has_answered.store(true, Ordering::Relaxed);
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.shared.handle
    }

    /// Waits on the calling thread, which must not be one that runs other tasks.
    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.shared.handle.block_on(future)
    }

    /// The object's key in the bucket.
    pub(super) fn path(&self, action: &'static str, key: &str) -> StoreResult<Path> {
        let invalid = || self.error(StoreErrorKind::InvalidKey, action, key, None);
        if !is_valid_key(key) {
            return Err(invalid());
        }
        Path::parse(format!("{}{key}", self.shared.prefix)).map_err(|_| invalid())
    }

    /// A prefix in the bucket.
    pub(super) fn folder(&self, prefix: &str) -> StoreResult<String> {
        if is_valid_prefix(prefix) {
            Ok(format!("{}{prefix}", self.shared.prefix))
        } else {
            Err(self.error(StoreErrorKind::InvalidKey, "list", prefix, None))
        }
    }

    /// The store's key of what is in the bucket; none for what is not the store's.
    pub(super) fn key<'p>(&self, path: &'p Path) -> Option<&'p str> {
        path.as_ref().strip_prefix(&self.shared.prefix)
    }

    pub(super) fn error(
        &self,
        kind: StoreErrorKind,
        action: &'static str,
        key: &str,
        reason: Option<String>,
    ) -> StoreError {
        StoreError {
            kind,
            action,
            key: key.to_owned(),
            place: self.shared.place.clone(),
            cause: reason.map(std::io::Error::other),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Whoever drops it may be a thread that must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
