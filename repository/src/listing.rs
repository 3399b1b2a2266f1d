//! Which backups there are: outcomes without a tomb (FORMAT.md, section 12).

use std::collections::{BTreeMap, BTreeSet};

use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::hold::Hold;
use crate::keep;
use crate::manifest::{self, Manifest, OUTCOME_BYTES_MAX, Outcome};
use crate::names::{self, BackupLocation, DigestLocation, Domain, DomainId, VolumeId, VolumeKey};
use crate::session::Ends;
use crate::store::Store;

/// Which backups to list; everything that is set must agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this domain; others are not even read.
    pub domain: Option<Domain>,
    /// Only this volume of each domain; others are not even listed.
    pub volume: Option<VolumeKey>,
    /// The source's host id or host name.
    pub host: Option<String>,
    /// The source's name or UUID.
    pub source: Option<String>,
}

impl Filter {
    pub(crate) fn matches(&self, manifest: &Manifest) -> bool {
        let source = &manifest.source;
        self.host.as_ref().is_none_or(|host| *host == source.host || *host == source.hostname)
            && self
                .source
                .as_ref()
                .is_none_or(|name| *name == source.name || Some(name) == source.uuid.as_ref())
    }
}

/// What a listing found.
#[derive(Debug, Default)]
pub struct Backups {
    /// Complete backups, oldest first.
    pub live: Vec<Manifest>,
    /// Backups whose manifest cannot be read.
    pub damaged: Vec<DamagedBackup>,
    /// Why some of these, by their id, are not to be deleted.
    pub holds: BTreeMap<String, Hold>,
}

/// A backup that is there and cannot be used.
#[derive(Debug)]
pub struct DamagedBackup {
    /// Where it stands.
    pub location: BackupLocation,
    /// What is wrong with it.
    pub error: Error,
}

impl DamagedBackup {
    /// Its id.
    pub fn id(&self) -> String {
        self.location.session.to_string()
    }

    /// The key of its manifest.
    pub fn object(&self) -> String {
        self.location.outcome()
    }
}

/// A backup that was looked up.
#[derive(Debug)]
pub struct Found {
    /// Where it stands.
    pub location: BackupLocation,
    /// What it is, if its manifest can be read.
    pub manifest: std::result::Result<Box<Manifest>, DamagedBackup>,
    /// Why it is not to be deleted.
    pub hold: Option<Hold>,
}

impl Found {
    /// Its id.
    pub fn id(&self) -> String {
        self.location.session.to_string()
    }
}

/// A backup that is live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    pub(crate) location: BackupLocation,
    pub(crate) is_held: bool,
}

/// All domains of the store.
pub(crate) fn domains(store: &dyn Store) -> Result<Vec<DomainId>> {
    let folders = store.list_folders(names::DOMAINS)?;
    Ok(folders.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Outcomes that have no tomb. Outcomes are listed first: collection removes an outcome before its
/// tomb, so what is dead never looks alive and readable.
pub(crate) fn live(
    store: &dyn Store,
    domain: DomainId,
    volume: Option<VolumeId>,
) -> Result<(Vec<Live>, BTreeSet<DigestLocation>)> {
    let Ends { outcomes, tombs, holds, digests } = match volume {
        Some(volume) => Ends::list_of(store, domain, volume)?,
        None => Ends::list(store, domain)?,
    };
    let live = outcomes.difference(&tombs).copied();
    let live = live.map(|location| Live { location, is_held: holds.contains(&location) });
    Ok((live.collect(), digests))
}

/// Whether a backup was live when this was called. The tomb is looked for first: collection removes
/// it last.
pub(crate) fn is_live(store: &dyn Store, location: BackupLocation) -> Result<bool> {
    Ok(!exists(store, &location.tomb())? && exists(store, &location.outcome())?)
}

pub(crate) fn exists(store: &dyn Store, key: &str) -> Result<bool> {
    match store.size(key) {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A backup, if it was live when this was called.
pub(crate) fn read_live(
    store: &dyn Store,
    keys: &DomainKeys,
    location: BackupLocation,
) -> Result<Option<Manifest>> {
    if exists(store, &location.tomb())? { Ok(None) } else { read(store, keys, location) }
}

/// As [`read`], for one that was just listed.
pub(crate) fn read_listed(
    store: &dyn Store,
    keys: &DomainKeys,
    location: BackupLocation,
) -> Result<Option<Manifest>> {
    let key = location.outcome();
    let outcome = keep::read_listed(store, &key, OUTCOME_BYTES_MAX, |bytes| {
        manifest::open(keys, location, bytes)
    })?;
    Ok(match outcome {
        Some(Outcome::Backup(manifest)) => Some(*manifest),
        Some(Outcome::Fenced) | None => None,
    })
}

/// Reads one outcome; `None` if it is no backup, or gone.
pub(crate) fn read(
    store: &dyn Store,
    keys: &DomainKeys,
    location: BackupLocation,
) -> Result<Option<Manifest>> {
    let bytes = match store.get(&location.outcome(), OUTCOME_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match manifest::open(keys, location, &bytes)? {
        Outcome::Backup(manifest) => Ok(Some(*manifest)),
        Outcome::Fenced => Ok(None),
    }
}
