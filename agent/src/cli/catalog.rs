//! Where backups are looked up: in a repository opened by this process, where its URL is given or
//! `--standalone`, else by the agent in one that is configured.

use hyper::Method;
use serde_json::{Value, json};
use thinmover_repository::Repository;

use super::service::{encode, get};
use crate::engine::delete_backup;
use crate::failure::{Code, Result};
use crate::http::Client;
use crate::views::{Backup, Backups, DamagedBackup, Hold};

/// A repository's list of backups.
pub(super) enum Catalog {
    Here {
        repository: Box<Repository>,
        state_dir: std::path::PathBuf,
    },
    Agent {
        agent: Client,
        /// The configured default when left out.
        repository: Option<String>,
    },
}

/// A backup that was named.
pub(super) enum Named {
    Whole(Box<Backup>),
    Damaged(DamagedBackup),
}

impl Named {
    /// Its whole id.
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Whole(backup) => &backup.id,
            Self::Damaged(damaged) => &damaged.id,
        }
    }

    pub(super) fn hold(&self) -> Option<&Hold> {
        match self {
            Self::Whole(backup) => backup.hold.as_ref(),
            Self::Damaged(damaged) => damaged.hold.as_ref(),
        }
    }
}

impl Catalog {
    /// Of one host (name or id) and source (name, path or UUID), where given.
    pub(super) fn backups(&self, host: Option<&str>, source: Option<&str>) -> Result<Backups> {
        let (agent, repository) = match self {
            Self::Here { repository, .. } => return Backups::read(repository, host, source),
            Self::Agent { agent, repository } => (agent, repository.as_deref()),
        };
        let mut all = Backups::default();
        let mut next: Option<String> = None;
        loop {
            let query = query(&[
                ("repository", repository),
                ("host", host),
                ("source", source),
                ("continue", next.as_deref()),
            ]);
            let page: Backups = get(agent, &format!("/v1/backups{query}"))?;
            all.backups.extend(page.backups);
            all.damaged = page.damaged;
            match page.next {
                Some(token) => next = Some(token),
                None => return Ok(all),
            }
        }
    }

    /// By its id, or enough of its beginning.
    pub(super) fn backup(&self, id: &str) -> Result<Backup> {
        match self {
            Self::Here { repository, .. } => Backup::of(repository.find(id)?),
            Self::Agent { agent, repository } => get(agent, &path(id, repository.as_deref())),
        }
    }

    /// As [`backup`](Self::backup), also where it cannot be read.
    pub(super) fn find(&self, id: &str) -> Result<Named> {
        if let Self::Here { repository, .. } = self {
            let found = repository.find(id)?;
            let hold = found.hold.as_ref();
            return Ok(match &found.manifest {
                Ok(manifest) => Named::Whole(Box::new(Backup::new(manifest, hold))),
                Err(damaged) => Named::Damaged(DamagedBackup::new(damaged, hold)),
            });
        }
        match self.backup(id) {
            Ok(backup) => Ok(Named::Whole(Box::new(backup))),
            // It stands for one backup, which the list names.
            Err(failure)
                if matches!(failure.code, Code::Damaged | Code::NewerFormat | Code::Failed) =>
            {
                let mut damaged = self.backups(None, None)?.damaged.into_iter();
                damaged.find(|it| it.id.starts_with(id)).map(Named::Damaged).ok_or(failure)
            }
            Err(failure) => Err(failure),
        }
    }

    pub(super) fn delete(&self, id: &str) -> Result<()> {
        match self {
            Self::Here { repository, state_dir } => {
                delete_backup(repository, &repository.find(id)?, state_dir)
            }
            Self::Agent { agent, repository } => {
                let path = path(id, repository.as_deref());
                agent.call(Method::DELETE, &path, None).map(|_: Value| ())
            }
        }
    }

    /// Holds a backup, by its whole id.
    pub(super) fn hold(&self, id: &str, reason: &str) -> Result<()> {
        match self {
            Self::Here { repository, .. } => {
                repository.hold(repository.find(id)?.location, reason)?;
                Ok(())
            }
            Self::Agent { agent, repository } => {
                let (path, body) =
                    (hold_path(id, repository.as_deref()), json!({"reason": reason}));
                agent.call(Method::PUT, &path, Some(&body)).map(|_: Value| ())
            }
        }
    }

    /// Lifts the hold on a backup, by its whole id.
    pub(super) fn unhold(&self, id: &str) -> Result<()> {
        match self {
            Self::Here { repository, .. } => Ok(repository.unhold(repository.find(id)?.location)?),
            Self::Agent { agent, repository } => {
                let path = hold_path(id, repository.as_deref());
                agent.call(Method::DELETE, &path, None).map(|_: Value| ())
            }
        }
    }
}

fn path(id: &str, repository: Option<&str>) -> String {
    format!("/v1/backups/{}{}", encode(id), query(&[("repository", repository)]))
}

fn hold_path(id: &str, repository: Option<&str>) -> String {
    format!("/v1/backups/{}/hold{}", encode(id), query(&[("repository", repository)]))
}

fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let given = pairs.iter().filter_map(|(key, value)| Some((key, (*value)?)));
    let text: Vec<_> = given.map(|(key, value)| format!("{key}={}", encode(value))).collect();
    if text.is_empty() { String::new() } else { format!("?{}", text.join("&")) }
}
