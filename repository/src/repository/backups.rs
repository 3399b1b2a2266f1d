//! Which backups a repository has, and which of them stay.

use super::Repository;
use crate::digest;
use crate::error::{Error, Result};
use crate::hold::{self, Hold};
use crate::listing::{self, Backups, DamagedBackup, Filter, Found, Live};
use crate::manifest::Manifest;
use crate::names::{BackupLocation, Domain, SessionId, VolumeKey};
use crate::upload;

impl Repository {
    /// The live backups that match, oldest first, and those whose manifest cannot be read.
    ///
    /// # Errors
    /// What the store reports.
    pub fn backups(&self, filter: &Filter) -> Result<Backups> {
        let domains = match &filter.domain {
            Some(domain) => vec![self.keys.domain_id(&domain.0)],
            None => listing::domains(&*self.store)?,
        };
        let mut backups = Backups::default();
        for domain in domains {
            let keys = self.domain_keys(domain);
            let volume = filter.volume.as_ref().map(|volume| keys.volume_id(&volume.0));
            let (live, digests) = listing::live(&*self.store, domain, volume)?;
            let mut digested = digest::read_all(&*self.store, &keys, &digests)?;
            for Live { location, is_held } in live {
                let manifest = match digested.remove(&location.session) {
                    Some(manifest) => Ok(Some(manifest)),
                    None => listing::read_listed(&*self.store, &keys, location),
                };
                match manifest {
                    Ok(Some(manifest)) if filter.matches(&manifest) => backups.live.push(manifest),
                    Ok(_) => continue,
                    Err(error) if error.is_of_one_backup() => {
                        backups.damaged.push(DamagedBackup { location, error });
                    }
                    Err(error) => return Err(error),
                }
                if is_held && let Some(hold) = hold::read_listed(&*self.store, &keys, location)? {
                    backups.holds.insert(location.session.to_string(), hold);
                }
            }
        }
        backups.live.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(backups)
    }

    /// The live backup whose id is, or begins with, `id`.
    ///
    /// # Errors
    /// `BackupNotFound`, `AmbiguousBackup`, `Damaged` or `NewerFormat` if its manifest cannot be
    /// read, and what the store reports.
    pub fn backup(&self, id: &str) -> Result<Manifest> {
        let location = self.locate(id)?.location;
        let keys = self.domain_keys(location.domain);
        let manifest = listing::read_listed(&*self.store, &keys, location)?;
        manifest.ok_or_else(|| Error::BackupNotFound { id: id.to_owned() })
    }

    /// The backup of one volume with this whole id, if it is live: without any listing.
    ///
    /// # Errors
    /// `Damaged` or `NewerFormat` if its manifest cannot be read, and what the store reports.
    pub fn backup_of(
        &self,
        domain: &Domain,
        volume: &VolumeKey,
        id: &str,
    ) -> Result<Option<Manifest>> {
        let keys = self.domain_keys(self.keys.domain_id(&domain.0));
        let Ok(session) = id.parse() else { return Ok(None) };
        let (domain, volume) = (keys.id(), keys.volume_id(&volume.0));
        listing::read_live(&*self.store, &keys, BackupLocation { domain, volume, session })
    }

    /// As [`backup`](Self::backup), also where its manifest cannot be read.
    ///
    /// # Errors
    /// `BackupNotFound`, `AmbiguousBackup`, and what the store reports.
    pub fn find(&self, id: &str) -> Result<Found> {
        let Live { location, is_held } = self.locate(id)?;
        let keys = self.domain_keys(location.domain);
        let manifest = match listing::read_listed(&*self.store, &keys, location) {
            Ok(Some(manifest)) => Ok(Box::new(manifest)),
            Ok(None) => return Err(Error::BackupNotFound { id: id.to_owned() }),
            Err(error) if error.is_of_one_backup() => Err(DamagedBackup { location, error }),
            Err(error) => return Err(error),
        };
        let hold = match is_held {
            true => hold::read_listed(&*self.store, &keys, location)?,
            false => None,
        };
        Ok(Found { location, manifest, hold })
    }

    /// The live backup whose id is, or begins with, `id`.
    fn locate(&self, id: &str) -> Result<Live> {
        let not_found = || Error::BackupNotFound { id: id.to_owned() };
        let named = |domain| -> Result<Vec<Live>> {
            let (live, _) = listing::live(&*self.store, domain, None)?;
            let is_named = |it: &Live| it.location.session.to_string().starts_with(id);
            Ok(live.into_iter().filter(is_named).collect())
        };
        if id.is_empty() {
            return Err(not_found());
        }
        // A whole id is no other backup's.
        let is_whole = id.parse::<SessionId>().is_ok();
        let home = self.home.filter(|_| is_whole);
        if let Some(live) = home.map(named).transpose()?.and_then(|mut found| found.pop()) {
            return Ok(live);
        }
        let mut found = Vec::new();
        for domain in listing::domains(&*self.store)? {
            found.extend(named(domain)?);
            if is_whole && !found.is_empty() {
                break;
            }
        }
        match (found.len(), found.pop()) {
            (1, Some(live)) => Ok(live),
            (0, _) => Err(not_found()),
            (matches, _) => Err(Error::AmbiguousBackup { prefix: id.to_owned(), matches }),
        }
    }

    /// Keeps a backup from being deleted, for a reason of one line, until the hold is lifted. To hold it
    /// again for the same reason changes nothing. Returns the hold that stands.
    ///
    /// # Errors
    /// `BackupHeld` if it is held for another reason, `BackupNotFound` if it has been deleted,
    /// `InvalidInput` for an empty reason, one of several lines or of more than about 16 KiB, and what
    /// the store reports.
    pub fn hold(&self, backup: BackupLocation, reason: &str) -> Result<Hold> {
        hold::put(&*self.store, &self.domain_keys(backup.domain), backup, &self.client, reason)
    }

    /// Lifts the hold on a backup, also one that cannot be read.
    ///
    /// # Errors
    /// `NotHeld`, and what the store reports.
    pub fn unhold(&self, backup: BackupLocation) -> Result<()> {
        hold::lift(&*self.store, backup)
    }

    /// Takes a backup off the list. Its space is given back by collection.
    ///
    /// # Errors
    /// `BackupHeld`, and what the store reports.
    pub fn delete(&self, backup: &Manifest) -> Result<()> {
        self.delete_at(backup.location())
    }

    /// As [`delete`](Self::delete), for a backup whose manifest cannot be read.
    ///
    /// # Errors
    /// `BackupHeld`, and what the store reports.
    pub fn delete_damaged(&self, backup: &DamagedBackup) -> Result<()> {
        self.delete_at(backup.location)
    }

    fn delete_at(&self, location: BackupLocation) -> Result<()> {
        hold::refuse_held(&*self.store, &self.domain_keys(location.domain), location)?;
        upload::create(&*self.store, "tomb", &location.tomb(), &[])?;
        Ok(())
    }
}
