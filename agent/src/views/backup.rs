//! Backups, as their repository lists them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thinmover_repository::{
    DamagedBackup as Damaged, Filter, Found, Hold as RepositoryHold, Manifest, Repository,
};

use crate::failure::{Result, chain};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Backups {
    pub(crate) backups: Vec<Backup>,
    #[serde(default)]
    pub(crate) damaged: Vec<DamagedBackup>,
    /// Where there are more than fit in one answer: what to ask for the rest with.
    #[serde(rename = "continue", default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// A backup that is there and cannot be read.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DamagedBackup {
    pub(crate) id: String,
    pub(crate) message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hold: Option<Hold>,
}

impl DamagedBackup {
    pub(crate) fn new(backup: &Damaged, hold: Option<&RepositoryHold>) -> Self {
        Self { id: backup.id(), message: chain(&backup.error), hold: hold.map(Hold::new) }
    }
}

/// Why a backup is not to be deleted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hold {
    pub(crate) reason: String,
    /// Nothing where the hold cannot be read.
    pub(crate) held_at: Option<Timestamp>,
    /// The host that held it.
    pub(crate) client: String,
}

impl Hold {
    pub(crate) fn new(hold: &RepositoryHold) -> Self {
        let RepositoryHold { reason, client, held_at } = hold.clone();
        Self { reason, held_at, client }
    }
}

/// What lists and details show of a backup.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Backup {
    pub(crate) id: String,
    /// The volume's `VG/LV`, or a path.
    pub(crate) source: String,
    pub(crate) source_uuid: Option<String>,
    /// The host's name, for people.
    pub(crate) host: String,
    pub(crate) host_id: String,
    pub(crate) created_at: Timestamp,
    pub(crate) mode: String,
    pub(crate) tier: String,
    pub(crate) reason: String,
    pub(crate) total_bytes: u64,
    pub(crate) block_bytes: u64,
    pub(crate) read_bytes: u64,
    pub(crate) new_bytes: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ttl: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hold: Option<Hold>,
}

impl Backup {
    /// What was found, unless it cannot be read.
    ///
    /// # Errors
    /// What keeps it from being read.
    pub(crate) fn of(found: Found) -> Result<Self> {
        let manifest = found.manifest.map_err(|damaged| damaged.error)?;
        Ok(Self::new(&manifest, found.hold.as_ref()))
    }

    pub(crate) fn new(manifest: &Manifest, hold: Option<&RepositoryHold>) -> Self {
        let source = &manifest.source;
        Self {
            id: manifest.id.clone(),
            source: source.name.clone(),
            source_uuid: source.uuid.clone(),
            host: if source.hostname.is_empty() { &source.host } else { &source.hostname }.clone(),
            host_id: source.host.clone(),
            created_at: manifest.created_at,
            mode: manifest.mode.clone(),
            tier: manifest.tier.clone(),
            reason: manifest.reason.clone(),
            total_bytes: manifest.total_bytes,
            block_bytes: manifest.block_bytes.into(),
            read_bytes: manifest.read_bytes,
            new_bytes: manifest.new_bytes,
            stored_bytes: manifest.stored_bytes,
            labels: manifest.labels.clone(),
            ttl: manifest.ttl.clone(),
            previous: manifest.previous.clone(),
            hold: hold.map(Hold::new),
        }
    }
}

impl Backups {
    /// What `repository` lists of `host` (name or id) and `source` (name, path or UUID).
    ///
    /// # Errors
    /// What the repository reports.
    pub(crate) fn read(
        repository: &Repository,
        host: Option<&str>,
        source: Option<&str>,
    ) -> Result<Self> {
        let listed = repository.backups(&Filter {
            host: host.map(str::to_owned),
            source: source.map(str::to_owned),
            ..Filter::default()
        })?;
        let hold = |id: &str| listed.holds.get(id);
        let (live, damaged) = (listed.live.iter(), listed.damaged.iter());
        Ok(Self {
            backups: live.map(|it| Backup::new(it, hold(&it.id))).collect(),
            damaged: damaged.map(|it| DamagedBackup::new(it, hold(&it.id()))).collect(),
            next: None,
        })
    }
}
