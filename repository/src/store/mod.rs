//! Where objects are kept. A [`Store`] is a flat set of immutable objects under keys, with an
//! atomic, durable create-if-absent; a directory is one, a bucket another.
//!
//! Nothing here knows what the objects mean.

mod buffer;
mod cache;
mod cached;
mod directory;
mod error;
mod give_up;
mod key;
mod ranges;
mod s3;
mod stream;
mod unnamed;
mod url;

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

pub use buffer::RangeBuffer;
pub use cache::Cache;
pub(crate) use cached::CachedStore;
pub use directory::DirectoryStore;
pub use error::{StoreError, StoreErrorKind};
pub use give_up::GiveUp;
pub use s3::{ConditionalWrites, S3Encryption, S3Options, S3Store};
pub use url::{open_store, open_store_with};

/// The result of a request to a store.
pub type StoreResult<T> = Result<T, StoreError>;

/// An object as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntry {
    /// The object's key.
    pub key: String,
    /// Its length in bytes.
    pub size_bytes: u64,
}

/// What create-if-absent found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// There was none; it is there now and durable.
    Created,
    /// As [`Created`](Self::Created), and an attempt that was never answered may still arrive: were
    /// the object deleted, it might come again.
    CreatedInDoubt,
    /// There was one; nothing was changed.
    AlreadyExists,
    /// As [`AlreadyExists`](Self::AlreadyExists), it is another's, and an attempt that was never
    /// answered may still arrive once that is gone.
    AlreadyExistsInDoubt,
}

/// Immutable objects under keys. All calls block; all are safe from several threads.
///
/// A listing includes every object that existed before it began and was not deleted meanwhile. Once
/// a create has been answered the object survives a power cut and every later read sees it. An
/// error of a create does not prove that nothing was created.
pub trait Store: Send + Sync + fmt::Debug {
    /// The address, for messages.
    fn url(&self) -> String;

    /// A whole object of at most `max_bytes`.
    ///
    /// # Errors
    /// `NotFound`, `TooLarge` without reading it, and what the medium reports.
    fn get(&self, key: &str, max_bytes: u64) -> StoreResult<Vec<u8>>;

    /// Exactly the bytes of `range`, into `out` (what it held is gone; its memory is reused).
    ///
    /// # Errors
    /// `NotFound`, `TooShort`, and what the medium reports.
    fn get_range(&self, key: &str, range: Range<u64>, out: &mut RangeBuffer) -> StoreResult<()>;

    /// The object's length in bytes.
    ///
    /// # Errors
    /// `NotFound`, and what the medium reports.
    fn size(&self, key: &str) -> StoreResult<u64>;

    /// Shows every object whose key begins with `prefix` (empty, or ending in `/`), in no order,
    /// until `visit` breaks. Memory does not grow with the number of objects.
    ///
    /// # Errors
    /// What the medium reports. A prefix without objects is no error.
    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ListEntry) -> ControlFlow<()>,
    ) -> StoreResult<()>;

    /// The parts that directly follow `prefix` and are followed by `/`: the folders in it, in no
    /// order.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    fn list_folders(&self, prefix: &str) -> StoreResult<Vec<String>>;

    /// Creates an object in one step, unless there is one (where
    /// [`has_conditional_writes`](Self::has_conditional_writes); else one that is there may be
    /// replaced).
    ///
    /// # Errors
    /// `NoSpace`, `PermissionDenied`, and what the medium reports.
    fn create(&self, key: &str, bytes: &[u8]) -> StoreResult<Creation>;

    /// Begins an object that is written piece by piece, about `expected_bytes` in all (a hint). Its
    /// key must be the caller's alone: only a store that can tell refuses to replace another.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    fn writer(&self, key: &str, expected_bytes: u64) -> StoreResult<Box<dyn ObjectWriter>>;

    /// What an open [`writer`](Self::writer) holds in memory, in bytes, beyond three writes of 1 MiB.
    fn writer_memory_bytes(&self) -> usize {
        0
    }

    /// The same store for one job: once `give_up` says so, a request under way gets two seconds to be
    /// answered, what is small may still be asked once and for as long, and anything else is refused
    /// as `GivenUp`. `None` where requests do not wait for anybody.
    fn until(&self, _give_up: &GiveUp) -> Option<Arc<dyn Store>> {
        None
    }

    /// Removes an object.
    ///
    /// # Errors
    /// `NotFound` where the store can tell, and what the medium reports.
    fn delete(&self, key: &str) -> StoreResult<()>;

    /// What this host keeps of it, if anything.
    fn cache(&self) -> Option<&Cache> {
        None
    }

    /// Whether create-if-absent is known to be atomic between processes: by the store's nature, by
    /// a probe that did not disprove it, or by an administrator's word.
    fn has_conditional_writes(&self) -> bool;

    /// Tries to disprove create-if-absent where nothing is known of it, with an object that is
    /// deleted again. Answers what [`has_conditional_writes`](Self::has_conditional_writes) says
    /// from now on.
    ///
    /// # Errors
    /// As [`create`](Self::create), [`get`](Self::get) and [`delete`](Self::delete).
    fn probe_conditional_writes(&self) -> StoreResult<bool> {
        Ok(self.has_conditional_writes())
    }
}

/// An object being written. Dropped before [`finish`](Self::finish), nothing of it remains.
pub trait ObjectWriter: Send {
    /// Adds bytes at the end.
    ///
    /// # Errors
    /// As [`Store::create`].
    fn append(&mut self, bytes: &[u8]) -> StoreResult<()>;

    /// Makes it durable and gives it its name, unless the store can tell that there is an object of
    /// that name.
    ///
    /// # Errors
    /// As [`Store::create`].
    fn finish(self: Box<Self>) -> StoreResult<Creation>;
}
