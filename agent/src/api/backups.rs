//! `/v1/backups` and `/v1/repositories`

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use thinmover_repository::{Found, Repository};

use super::request::Request;
use super::{Shared, ok};
use crate::access::Right;
use crate::engine::delete_backup;
use crate::failure::{Code, Failure, Result};
use crate::http::Answer;
use crate::journal::{self, Event, Fields};
use crate::repositories;
use crate::views::{Backup, Backups, RepositoryStatus};

/// Backups in one answer, unless the caller asks for fewer.
const PAGE: u64 = 500;

/// Configured repositories that were opened, since deriving a key from a passphrase is meant to
/// take long. The map is not held meanwhile: a store that hangs keeps back the requests for it, each of
/// which holds one of the server's blocking threads.
#[derive(Default)]
pub(super) struct Repositories(Mutex<HashMap<String, Arc<Slot>>>);

/// A repository that is open, or that one request opens while others for it wait.
type Slot = Mutex<Option<Arc<Repository>>>;

impl Repositories {
    pub(super) fn forget(&self) {
        lock(&self.0).clear();
    }

    pub(super) fn open(&self, shared: &Shared, name: Option<&str>) -> Result<Arc<Repository>> {
        if let Some(url) = name.filter(|name| repositories::is_url(name)) {
            return Err(Failure::new(
                Code::Usage,
                format!("{url} is a URL; the agent lists configured repositories only"),
            )
            .hint("configure it under [repositories.NAME], or use the command line as root"));
        }
        let engine = shared.engine.get();
        repositories::locate(engine.settings(), name)?;
        // By name: one address may be a bucket's on several endpoints.
        let name_or_default = name.or(engine.settings().default_repository.as_deref());
        let slot = name_or_default.unwrap_or_default().to_owned();
        let slot = Arc::clone(lock(&self.0).entry(slot).or_default());
        let mut open = lock(&slot);
        if let Some(repository) = &*open {
            return Ok(Arc::clone(repository));
        }
        let repository = Arc::new(repositories::open(engine.settings(), engine.io(), name, None)?);
        *open = Some(Arc::clone(&repository));
        Ok(repository)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn list(shared: &Shared, request: &Request) -> Result<Answer> {
    request.caller.require(Right::Read, "listing backups")?;
    let limit = request.number("limit")?.unwrap_or(PAGE).clamp(1, PAGE);
    let repository = shared.repositories.open(shared, request.query("repository"))?;
    let all = Backups::read(&repository, request.query("host"), request.query("source"))?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    ok(&page(all, request.query("continue"), limit)?)
}

/// The page after the backup `after`, which a page before ended with.
fn page(mut all: Backups, after: Option<&str>, limit: usize) -> Result<Backups> {
    if let Some(after) = after {
        let last = all.backups.iter().position(|backup| backup.id == after).ok_or_else(|| {
            Failure::new(Code::Gone, format!("backup {after} is not listed any more"))
                .hint("list again, without `continue`")
        })?;
        all.backups.drain(..=last);
    }
    if all.backups.len() > limit {
        all.backups.truncate(limit);
        all.next = all.backups.last().map(|backup| backup.id.clone());
    }
    Ok(all)
}

pub(super) fn get(shared: &Shared, request: &Request, id: &str) -> Result<Answer> {
    request.caller.require(Right::Read, "looking at a backup")?;
    let repository = shared.repositories.open(shared, request.query("repository"))?;
    ok(&Backup::of(repository.find(id)?)?)
}

/// By its whole id only: what is deleted is not guessed.
pub(super) fn delete(shared: &Shared, request: &Request, id: &str) -> Result<Answer> {
    request.caller.require(Right::Admin, "deleting a backup")?;
    let repository = shared.repositories.open(shared, request.query("repository"))?;
    let backup = by_whole_id(&repository, id, "deleting")?;
    delete_found(shared, request, &repository, &backup)?;
    ok(&json!({ "id": id }))
}

pub(super) fn delete_found(
    shared: &Shared,
    request: &Request,
    repository: &Repository,
    backup: &Found,
) -> Result<()> {
    delete_backup(repository, backup, &shared.engine.get().settings().state_dir)?;
    tell(Event::BackupDeleted, request, repository, backup, "was deleted");
    Ok(())
}

/// The backup with this id, which is not the beginning of one.
pub(super) fn by_whole_id(repository: &Repository, id: &str, doing: &str) -> Result<Found> {
    let backup = repository.find(id)?;
    if backup.id() == id {
        return Ok(backup);
    }
    let whole = backup.id();
    let message = format!("{id} is the beginning of backup {whole}; {doing} needs the whole id");
    Err(Failure::new(Code::Usage, message))
}

/// Tells the journal what a caller has done with a backup.
pub(super) fn tell(
    event: Event,
    request: &Request,
    repository: &Repository,
    backup: &Found,
    happened: &str,
) {
    let (id, url) = (backup.id(), repository.url());
    let volume = backup.manifest.as_ref().ok().map(|manifest| manifest.source.name.as_str());
    let fields = Fields {
        backup: Some(&id),
        repository: Some(&url),
        volume,
        uid: Some(request.caller.uid()),
        ..Fields::default()
    };
    let of = volume.map_or_else(|| ", which cannot be read,".into(), |name| format!(" of {name}"));
    journal::write(event, &fields, format!("backup {id}{of} {happened} by {}", request.caller));
}

pub(super) fn repository(shared: &Shared, request: &Request, name: &str) -> Result<Answer> {
    request.caller.require(Right::Read, "looking at a repository")?;
    let repository = shared.repositories.open(shared, Some(name))?;
    ok(&RepositoryStatus::new(&repository)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup(id: &str) -> Backup {
        let document = json!({
            "id": id, "source": "vg0/a", "sourceUuid": null, "host": "edge", "hostId": "h",
            "createdAt": "2026-01-31T12:00:00Z", "mode": "block", "tier": "full", "reason": "",
            "totalBytes": 0, "blockBytes": 0, "readBytes": 0, "newBytes": 0, "storedBytes": 0,
            "labels": {},
        });
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn pages_follow_one_another_without_gap_or_repeat() {
        let all = || Backups {
            backups: (0..5).map(|number| backup(&number.to_string())).collect(),
            ..Backups::default()
        };
        let mut seen = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page = page(all(), next.as_deref(), 2).unwrap();
            seen.extend(page.backups.into_iter().map(|backup| backup.id));
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["0", "1", "2", "3", "4"]);
        assert_eq!(page(all(), Some("gone"), 2).unwrap_err().code, Code::Gone);
    }
}
