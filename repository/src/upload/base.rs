//! The backup that an upload builds on.

use std::ops::Deref;
use std::sync::Arc;

use super::session::Upload;
use crate::error::{Error, Result};
use crate::listing;
use crate::manifest::Manifest;
use crate::names::{BackupLocation, SessionId};
use crate::restore::{Image, ReadLimits};

/// A backup that was live behind an upload's first step, so that the upload may build on it.
#[derive(Clone, Debug)]
pub struct LiveBackup {
    manifest: Manifest,
    upload: SessionId,
}

impl Deref for LiveBackup {
    type Target = Manifest;

    fn deref(&self) -> &Manifest {
        &self.manifest
    }
}

impl Upload {
    /// The backup with this whole id of the volume that is uploaded, if it is live. This upload may
    /// build on it: its session protects what the backup reaches from now on, also if that is deleted.
    ///
    /// # Errors
    /// `Damaged` or `NewerFormat` if its manifest cannot be read, and what the store reports.
    pub fn live_backup(&self, id: &str) -> Result<Option<LiveBackup>> {
        let Ok(session) = id.parse() else { return Ok(None) };
        self.live_backup_at(BackupLocation { session, ..self.location() })
    }

    /// As [`live_backup`](Self::live_backup), of any volume of the domain.
    ///
    /// # Errors
    /// As [`live_backup`](Self::live_backup), `InvalidInput` for a backup of another domain.
    pub fn live_backup_at(&self, location: BackupLocation) -> Result<Option<LiveBackup>> {
        if location.domain != self.location().domain {
            return Err(Error::InvalidInput("the base is of another domain".to_owned()));
        }
        let manifest = listing::read_live(&**self.store(), self.keys(), location)?;
        Ok(manifest.map(|manifest| LiveBackup { manifest, upload: self.session() }))
    }

    /// Opens the image of a backup that this upload may build on.
    ///
    /// # Errors
    /// `InvalidInput` for one that another upload found, `Damaged` for one whose sizes are out of
    /// bounds.
    pub fn base_image(&self, backup: &LiveBackup, limits: ReadLimits) -> Result<Image> {
        if backup.upload != self.session() {
            return Err(Error::InvalidInput("the base was found by another upload".to_owned()));
        }
        let (store, keys) = (Arc::clone(self.store()), Arc::clone(self.keys()));
        Image::for_upload(store, keys, &backup.manifest, self.view(), limits, self.session())
    }
}
