//! Deleting a backup.

use std::path::Path;

use thinmover_repository::{Manifest, Repository};

use super::last_backup::LastBackup;
use super::upload::identity;
use crate::failure::Result;

/// Takes a backup off the list. Where it was this host's last one of its volume, the host no longer
/// expects to find it.
pub(crate) fn delete_backup(
    repository: &Repository,
    backup: &Manifest,
    state_dir: &Path,
) -> Result<()> {
    repository.delete(backup)?;
    LastBackup::forget(state_dir, identity(&backup.source), &backup.id);
    Ok(())
}
