//! Deleting a backup.

use std::path::Path;

use thinmover_repository::{Found, Repository};

use super::last_backup::LastBackup;
use crate::failure::Result;

/// Takes a backup off the list, also one that cannot be read. Where it was this host's last one of a
/// volume, the host no longer expects to find it.
pub(crate) fn delete_backup(
    repository: &Repository,
    backup: &Found,
    state_dir: &Path,
) -> Result<()> {
    match &backup.manifest {
        Ok(manifest) => repository.delete(manifest)?,
        Err(damaged) => repository.delete_damaged(damaged)?,
    }
    LastBackup::forget(state_dir, &backup.id());
    Ok(())
}
