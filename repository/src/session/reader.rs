//! The mark of somebody who reads a backup.

use std::sync::Arc;

use super::mark::{Mark, MarkKind};
use crate::crypto::DomainKeys;
use crate::error::Result;
use crate::manifest::Manifest;
use crate::names::{BackupLocation, ReaderId};
use crate::store::{Store, StoreErrorKind};

/// Keeps what a backup reaches from being collected, should it be deleted meanwhile. The mark goes
/// when this is dropped, or is told to be over by whoever may not delete; that of a dead process stays
/// until an operator ends it.
#[derive(Debug)]
pub(crate) struct ReaderMark {
    store: Arc<dyn Store>,
    backup: BackupLocation,
    reader: ReaderId,
}

impl ReaderMark {
    /// `None` where this process may not write; whether the backup is live must be asked afterwards.
    pub(crate) fn put(
        store: &Arc<dyn Store>,
        keys: &DomainKeys,
        client: &str,
        backup: &Manifest,
    ) -> Result<Option<Self>> {
        let (backup, name) = (backup.location(), &backup.source.name);
        let reader = ReaderId::random()?;
        let key = backup.reader(reader);
        let mark = Mark::new(MarkKind::Read, client, name);
        match store.create(&key, &mark.seal(keys, &key)?) {
            Ok(_) => Ok(Some(Self { store: Arc::clone(store), backup, reader })),
            Err(error) if error.kind == StoreErrorKind::PermissionDenied => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for ReaderMark {
    fn drop(&mut self) {
        // One that stays only keeps a deleted backup's space from being given back.
        let deleted = self.store.delete(&self.backup.reader(self.reader));
        if deleted.is_err_and(|error| error.kind == StoreErrorKind::PermissionDenied) {
            let _ = self.store.create(&self.backup.reader_end(self.reader), &[]);
        }
    }
}
