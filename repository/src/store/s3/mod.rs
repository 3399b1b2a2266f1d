//! A store in a bucket of S3 or of what speaks its protocol (FORMAT.md, section 3b).
//!
//! Calls block: they run on threads of the store's own. Every request is tried again here and not
//! in the library below, because a commit must know whether an attempt that was never answered may
//! still arrive. Secrets are read from files, go into requests, and are shown nowhere.

mod address;
mod attempt;
mod client;
mod conditional;
mod connect;
mod create;
mod credentials;
mod failure;
mod hint;
mod list;
mod options;
mod read;
mod retry;
mod writer;

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use super::{Creation, GiveUp, ListEntry, ObjectWriter, RangeBuffer, Store, StoreResult};
use client::Client;
pub use options::{ConditionalWrites, S3Encryption, S3Options};

/// Objects in a bucket, all below one prefix.
pub struct S3Store(Client);

impl S3Store {
    /// The store at `s3://bucket/prefix`. Reads the files that `options` names; nothing is sent.
    ///
    /// # Errors
    /// What cannot be used and why, as text.
    pub(super) fn new(url: &str, options: &S3Options) -> Result<Self, String> {
        let address = address::Address::parse(url)?;
        Ok(Self(connect::connect(address, options)?))
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("S3Store").field(&self.url()).finish()
    }
}

impl Store for S3Store {
    fn url(&self) -> String {
        self.0.url().to_owned()
    }

    fn get(&self, key: &str, max_bytes: u64) -> StoreResult<Vec<u8>> {
        read::get(&self.0, key, max_bytes)
    }

    fn get_range(&self, key: &str, range: Range<u64>, out: &mut RangeBuffer) -> StoreResult<()> {
        read::get_range(&self.0, key, range, out)
    }

    fn size(&self, key: &str) -> StoreResult<u64> {
        read::size(&self.0, key)
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ListEntry) -> ControlFlow<()>,
    ) -> StoreResult<()> {
        list::objects(&self.0, prefix, visit)
    }

    fn list_folders(&self, prefix: &str) -> StoreResult<Vec<String>> {
        list::folders(&self.0, prefix)
    }

    fn create(&self, key: &str, bytes: &[u8]) -> StoreResult<Creation> {
        create::create(&self.0, key, bytes.to_vec())
    }

    fn writer(&self, key: &str, expected_bytes: u64) -> StoreResult<Box<dyn ObjectWriter>> {
        Ok(Box::new(writer::S3Writer::new(self.0.clone(), key, expected_bytes)?))
    }

    fn writer_memory_bytes(&self) -> usize {
        writer::MEMORY_BYTES
    }

    fn until(&self, give_up: &GiveUp) -> Option<Arc<dyn Store>> {
        Some(Arc::new(Self(self.0.until(give_up))))
    }

    fn delete(&self, key: &str) -> StoreResult<()> {
        create::delete(&self.0, key)
    }

    fn has_conditional_writes(&self) -> bool {
        self.0.conditions().are_known()
    }

    fn probe_conditional_writes(&self) -> StoreResult<bool> {
        conditional::probe(&self.0)
    }
}
