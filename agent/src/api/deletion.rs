//! What becomes of an upload's backup when the upload is deleted: `deletionPolicy`.

use serde_json::Value;
use thinmover_repository::{Error as RepositoryError, Repository};

use super::Shared;
use super::backups::delete_found;
use super::request::Request;
use crate::access::Right;
use crate::failure::{Code, Failure, Result};
use crate::jobs::spec::DeletionPolicy;
use crate::jobs::{Job, Kind};
use crate::repositories;

/// The right to ask for a job of this kind.
pub(super) fn right(kind: Kind) -> Right {
    match kind {
        Kind::Upload => Right::Backup,
        Kind::Download => Right::Restore,
    }
}

/// The right to ask for a job, or to take it off the record, with what that leads to.
pub(super) fn right_with(kind: Kind, policy: DeletionPolicy) -> Right {
    match policy {
        DeletionPolicy::Retain => right(kind),
        // It includes the others.
        DeletionPolicy::Delete => Right::Admin,
    }
}

/// Deletes the backup that an upload made, where that is still there.
///
/// # Errors
/// Whatever keeps it from being deleted, never `NotFound`: the upload stays, to be deleted again.
pub(super) fn delete_backup_of(shared: &Shared, request: &Request, upload: &Job) -> Result<()> {
    let Some(backup) = &upload.status.snapshot_id else { return Ok(()) };
    try_to_delete(shared, request, upload, backup).map_err(|mut failure| {
        if failure.code == Code::NotFound {
            failure.code = Code::Failed;
        }
        failure.context(format!(
            "upload {} stays on record, since its backup {backup} cannot be deleted",
            upload.id
        ))
    })
}

fn try_to_delete(shared: &Shared, request: &Request, upload: &Job, backup: &str) -> Result<()> {
    let name = upload.spec.get("repository").and_then(Value::as_str);
    let known = shared.repositories.open(shared, name)?;
    if went_to(upload, &known) && delete_in(shared, request, &known, backup)? {
        return Ok(());
    }
    // It is gone, or the repository is: nothing is found in a folder of a disk that is not mounted.
    let engine = shared.engine.get();
    let repository = repositories::open(engine.settings(), engine.io(), name, None)?;
    if went_to(upload, &repository) {
        return delete_in(shared, request, &repository, backup).map(drop);
    }
    let message = format!("it was made in another repository than {} is now", repository.url());
    Err(Failure::new(Code::Unsuitable, message)
        .hint("configure the repository again under the name that the upload gives"))
}

/// Deletes a backup; whether it was there.
fn delete_in(
    shared: &Shared,
    request: &Request,
    repository: &Repository,
    backup: &str,
) -> Result<bool> {
    match repository.find(backup) {
        Ok(found) => delete_found(shared, request, repository, &found).map(|()| true),
        Err(RepositoryError::BackupNotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether an upload went to this repository: its name may have come to mean another.
fn went_to(upload: &Job, repository: &Repository) -> bool {
    let result = upload.status.result.as_ref();
    let made_in = result.and_then(|it| it.get("repositoryId")).and_then(Value::as_str);
    made_in.is_none_or(|id| id == repository.descriptor().id_text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_deletes_a_backup_needs_the_right_to_delete_backups() {
        let needed = |kind, spec: Value| {
            let Value::Object(spec) = spec else { panic!("no object") };
            right_with(kind, DeletionPolicy::of(kind, &spec))
        };
        assert_eq!(needed(Kind::Upload, json!({})), Right::Backup);
        assert_eq!(needed(Kind::Upload, json!({"deletionPolicy": "Retain"})), Right::Backup);
        assert_eq!(needed(Kind::Upload, json!({"deletionPolicy": "Delete"})), Right::Admin);
        assert_eq!(needed(Kind::Download, json!({"deletionPolicy": "Delete"})), Right::Restore);
    }
}
