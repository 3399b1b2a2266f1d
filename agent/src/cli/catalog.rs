//! Where backups are looked up: in a repository opened by this process, where its URL is given or
//! `--standalone`, else by the agent in one that is configured.

use hyper::Method;
use serde_json::Value;
use thinmover_repository::Repository;

use super::service::{encode, get};
use crate::engine::delete_backup;
use crate::failure::Result;
use crate::http::Client;
use crate::views::{Backup, Backups};

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
            Self::Here { repository, .. } => Ok(Backup::new(&repository.backup(id)?)),
            Self::Agent { agent, repository } => get(agent, &path(id, repository.as_deref())),
        }
    }

    pub(super) fn delete(&self, id: &str) -> Result<()> {
        match self {
            Self::Here { repository, state_dir } => {
                delete_backup(repository, &repository.backup(id)?, state_dir)
            }
            Self::Agent { agent, repository } => {
                let path = path(id, repository.as_deref());
                agent.call(Method::DELETE, &path, None).map(|_: Value| ())
            }
        }
    }
}

fn path(id: &str, repository: Option<&str>) -> String {
    format!("/v1/backups/{}{}", encode(id), query(&[("repository", repository)]))
}

fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let given = pairs.iter().filter_map(|(key, value)| Some((key, (*value)?)));
    let text: Vec<_> = given.map(|(key, value)| format!("{key}={}", encode(value))).collect();
    if text.is_empty() { String::new() } else { format!("?{}", text.join("&")) }
}
