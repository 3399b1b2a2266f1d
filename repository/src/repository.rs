//! A repository: made, opened, and what can be done with it.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::collect::{MaintainOptions, MaintainProgress, MaintainReport, collect};
use crate::config::{Descriptor, UnprovenConfig};
use crate::crypto::{
    DomainKeys, Encryption, Passphrase, PassphraseCost, RepositoryKeys, Slot, SlotError, random,
    random_secret, seal_slot,
};
use crate::error::{Error, Result};
use crate::listing::{self, Backups, DamagedBackup, Filter, Found};
use crate::manifest::Manifest;
use crate::names::{self, BackupLocation, CONFIG, Domain, DomainId, SLOTS, VolumeKey};
use crate::restore::{Image, ReadLimits};
use crate::session::{OpenSession, end_session, open_sessions};
use crate::store::{Creation, GiveUp, Store};
use crate::upload::{self, Upload, UploadLimits};
use crate::verify::{self, VerifyProgress, VerifyReport};

/// Longest `config` and key slot.
const SMALL_OBJECT_BYTES_MAX: u64 = 64 << 10;
/// More slots than these are an attack on the reader's time.
const SLOTS_MAX: usize = 16;

/// Choices at init; the default is what nearly everybody wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InitOptions {
    /// The cipher.
    pub encryption: Encryption,
    /// What guessing the passphrase costs.
    pub passphrase_cost: PassphraseCost,
}

/// Figures of a repository, from listings alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryStatus {
    /// Its address.
    pub url: String,
    /// What it is.
    pub descriptor: Descriptor,
    /// Whether the store's create-if-absent is atomic.
    pub conditional_writes: bool,
    /// Live backups.
    pub backups: u64,
    /// Packs, with index objects.
    pub containers: u64,
    /// Length of all objects.
    pub stored_bytes: u64,
}

/// An open repository. Cheap to clone; shared by all threads.
#[derive(Clone, Debug)]
pub struct Repository {
    store: Arc<dyn Store>,
    descriptor: Descriptor,
    keys: Arc<RepositoryKeys>,
    /// Stands in the marks it leaves while it uploads or reads.
    client: Arc<str>,
}

impl Repository {
    /// Makes a repository in an empty store.
    ///
    /// # Errors
    /// `AlreadyInitialised` if any object is there, `InvalidInput` for an empty passphrase, and
    /// what the store reports.
    pub fn init(
        store: Arc<dyn Store>,
        options: &InitOptions,
        passphrase: &Passphrase,
    ) -> Result<Self> {
        if passphrase.is_empty() {
            return Err(Error::InvalidInput("the passphrase is empty".to_owned()));
        }
        let taken = |found: String| Error::AlreadyInitialised { url: store.url(), found };
        if let Some(found) = any_object(&*store)? {
            return Err(taken(found));
        }
        store.probe_conditional_writes()?;
        let keys = RepositoryKeys::new(random_secret()?);
        let descriptor = Descriptor::new(random()?, options.encryption);
        let slot = seal_slot(&descriptor.id, keys.master(), passphrase, options.passphrase_cost)?;
        let slot_key = names::slot(&random()?);
        upload::create(&*store, "slot", &slot_key, &slot)?;
        // The config makes it a repository: last, and only one of two that race creates it.
        let config = descriptor.to_bytes(&keys)?;
        let error = match upload::create(&*store, "config", CONFIG, &config) {
            Ok(Creation::Created | Creation::CreatedInDoubt) => {
                return Ok(Self::new(store, descriptor, keys));
            }
            Ok(Creation::AlreadyExists | Creation::AlreadyExistsInDoubt) => {
                taken(CONFIG.to_owned())
            }
            Err(error) if error.is_definite() => error,
            Err(error) => return Err(error),
        };
        // There is no config that goes with the slot, and there will be none. What is left of it
        // is refused by the next init.
        let _ = store.delete(&slot_key);
        Err(error)
    }

    /// Opens a repository with a passphrase.
    ///
    /// # Errors
    /// `NotARepository`, `NewerFormat`, `WrongPassphrase`, `Damaged`, and what the store reports.
    pub fn open(store: Arc<dyn Store>, passphrase: &Passphrase) -> Result<Self> {
        let not_ours =
            |reason: &str| Error::NotARepository { url: store.url(), reason: reason.to_owned() };
        let bytes = match store.get(CONFIG, SMALL_OBJECT_BYTES_MAX) {
            Err(error) if error.is_not_found() => Err(not_ours("it has no object config")),
            bytes => Ok(bytes?),
        }?;
        let config = UnprovenConfig::parse(&store.url(), &bytes)?;
        let keys = unlock(&*store, config.repository(), passphrase)?;
        let descriptor = config.prove(&keys)?;
        Ok(Self::new(store, descriptor, keys))
    }

    fn new(store: Arc<dyn Store>, descriptor: Descriptor, keys: RepositoryKeys) -> Self {
        Self { store, descriptor, keys: Arc::new(keys), client: Arc::from("") }
    }

    /// Says who this is: a host's name, shown to an operator who asks what still uses the repository.
    #[must_use]
    pub fn with_client(self, client: &str) -> Self {
        Self { client: Arc::from(client), ..self }
    }

    /// The same repository for one job, whose requests to the store end once `give_up` says so; see
    /// [`Store::until`].
    #[must_use]
    pub fn until(&self, give_up: &GiveUp) -> Self {
        let store = self.store.until(give_up).unwrap_or_else(|| Arc::clone(&self.store));
        Self { store, ..self.clone() }
    }

    /// The same repository through another store.
    #[cfg(test)]
    pub(crate) fn over(&self, store: Arc<dyn Store>) -> Self {
        Self { store, ..self.clone() }
    }

    /// What it is.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.store.url()
    }

    /// What every worker of an upload holds in memory beyond what it would in a directory, in bytes.
    pub fn writer_memory_bytes(&self) -> usize {
        self.store.writer_memory_bytes()
    }

    /// Figures, from listings alone. What is not known of create-if-absent is tried out, where that
    /// can be done.
    ///
    /// # Errors
    /// What the store reports.
    pub fn status(&self) -> Result<RepositoryStatus> {
        let (mut containers, mut stored_bytes) = (0, 0);
        self.store.list("", &mut |entry| {
            stored_bytes += entry.size_bytes;
            containers += u64::from(entry.key.contains("/pack/") || entry.key.contains("/index/"));
            ControlFlow::Continue(())
        })?;
        let mut backups = 0;
        for domain in listing::domains(&*self.store)? {
            backups += listing::live_locations(&*self.store, domain)?.len() as u64;
        }
        Ok(RepositoryStatus {
            url: self.url(),
            descriptor: self.descriptor.clone(),
            conditional_writes: self.has_conditional_writes(),
            backups,
            containers,
            stored_bytes,
        })
    }

    /// As far as it is known: a store that is full, or read-only, cannot be tried out.
    fn has_conditional_writes(&self) -> bool {
        let probed = self.store.probe_conditional_writes();
        probed.unwrap_or_else(|_| self.store.has_conditional_writes())
    }

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
            for location in listing::live_locations(&*self.store, domain)? {
                match listing::read(&*self.store, &keys, location) {
                    Ok(manifest) => {
                        backups.live.extend(manifest.filter(|manifest| filter.matches(manifest)));
                    }
                    Err(error) if error.is_of_one_backup() => {
                        backups.damaged.push(DamagedBackup { location, error });
                    }
                    Err(error) => return Err(error),
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
        match self.find(id)? {
            Found::Whole(manifest) => Ok(*manifest),
            Found::Damaged(damaged) => Err(damaged.error),
        }
    }

    /// As [`backup`](Self::backup), also where its manifest cannot be read.
    ///
    /// # Errors
    /// `BackupNotFound`, `AmbiguousBackup`, and what the store reports.
    pub fn find(&self, id: &str) -> Result<Found> {
        let not_found = || Error::BackupNotFound { id: id.to_owned() };
        if id.is_empty() {
            return Err(not_found());
        }
        let mut matches: HashMap<BackupLocation, DomainId> = HashMap::new();
        for domain in listing::domains(&*self.store)? {
            let locations = listing::live_locations(&*self.store, domain)?;
            let named = locations.into_iter().filter(|l| l.session.to_string().starts_with(id));
            matches.extend(named.map(|location| (location, domain)));
        }
        match matches.into_iter().collect::<Vec<_>>().as_slice() {
            [] => Err(not_found()),
            [(location, domain)] => {
                match listing::read(&*self.store, &self.domain_keys(*domain), *location) {
                    Ok(manifest) => {
                        manifest.map(|it| Found::Whole(Box::new(it))).ok_or_else(not_found)
                    }
                    Err(error) if error.is_of_one_backup() => {
                        Ok(Found::Damaged(DamagedBackup { location: *location, error }))
                    }
                    Err(error) => Err(error),
                }
            }
            several => {
                Err(Error::AmbiguousBackup { prefix: id.to_owned(), matches: several.len() })
            }
        }
    }

    /// Takes a backup off the list. Its space is given back by collection.
    ///
    /// # Errors
    /// What the store reports.
    pub fn delete(&self, backup: &Manifest) -> Result<()> {
        self.delete_at(backup.location())
    }

    /// As [`delete`](Self::delete), for a backup whose manifest cannot be read.
    ///
    /// # Errors
    /// What the store reports.
    pub fn delete_damaged(&self, backup: &DamagedBackup) -> Result<()> {
        self.delete_at(backup.location)
    }

    /// Begins an upload of one volume.
    ///
    /// # Errors
    /// `NewerFormat` if the domain was maintained by a newer version, and what the store reports.
    pub fn begin_upload(
        &self,
        domain: &Domain,
        volume: &VolumeKey,
        limits: UploadLimits,
    ) -> Result<Upload> {
        let keys = self.domain_keys(self.keys.domain_id(&domain.0));
        Upload::begin(Arc::clone(&self.store), keys, &volume.0, limits, &self.client)
    }

    /// Opens a backup's image for reading, with a mark that keeps its blocks while it is read.
    ///
    /// # Errors
    /// `BackupNotFound` if it has been deleted, `NewerFormat` if the domain was maintained by a newer
    /// version, and what the store reports.
    pub fn image(&self, backup: &Manifest, limits: ReadLimits) -> Result<Image> {
        let keys = self.domain_keys(backup.location().domain);
        Image::open(Arc::clone(&self.store), keys, backup, limits, &self.client)
    }

    /// Opens the image that an upload is to be based on. It needs no mark: the upload's session
    /// protects what it takes on, once [`Upload::based_image`] has seen that the backup is live.
    ///
    /// # Errors
    /// `NewerFormat` if the domain was maintained by a newer version, and what the store reports.
    pub fn base_image(&self, backup: &Manifest, limits: ReadLimits) -> Result<Image> {
        let keys = self.domain_keys(backup.location().domain);
        Image::open_unmarked(Arc::clone(&self.store), keys, backup, limits)
    }

    /// Reads everything the backup reaches: whole packs, with header, footer and trailer.
    /// `on_progress` is called now and then; it stops the verification by breaking.
    ///
    /// # Errors
    /// `Canceled`, and what keeps the index from being listed. Damage is in the report.
    pub fn verify(
        &self,
        backup: &Manifest,
        on_progress: &mut dyn FnMut(VerifyProgress) -> ControlFlow<()>,
    ) -> Result<VerifyReport> {
        let image = self.image(backup, ReadLimits::default())?;
        verify::verify(&image, backup, on_progress)
    }

    /// Takes out what no live backup reaches, in every domain or in one. Safe beside uploads, restores
    /// and itself, and safe to kill: the next one goes on.
    ///
    /// # Errors
    /// `CollectionBlocked` if it cannot be told what a listed backup reaches, `Canceled`, `Scratch`,
    /// and what the store reports.
    pub fn maintain(
        &self,
        domain: Option<&Domain>,
        options: &MaintainOptions,
        on_progress: &mut dyn FnMut(MaintainProgress) -> ControlFlow<()>,
    ) -> Result<MaintainReport> {
        let domains = match domain {
            Some(domain) => vec![self.keys.domain_id(&domain.0)],
            None => listing::domains(&*self.store)?,
        };
        // Only a store that is known to create in one step lets a writer be fenced.
        self.store.probe_conditional_writes()?;
        let mut report = MaintainReport::default();
        for domain in domains {
            let keys = || self.domain_keys(domain);
            let collected = collect(&self.store, &keys, options, on_progress)?;
            report.domains.push((domain.to_string(), collected));
        }
        Ok(report)
    }

    /// The uploads and reads that have not ended, in all domains.
    ///
    /// # Errors
    /// What the store reports.
    pub fn sessions(&self) -> Result<Vec<OpenSession>> {
        let mut sessions = Vec::new();
        for domain in listing::domains(&*self.store)? {
            sessions.extend(open_sessions(&*self.store, &self.domain_keys(domain))?);
        }
        Ok(sessions)
    }

    /// Ends a session by the operator's word that its owner is dead and none of its requests under way.
    /// Where create-if-absent is atomic an upload that lives only has to begin again; where it is not,
    /// one that commits all the same may lose blocks.
    ///
    /// # Errors
    /// What the store reports.
    pub fn end_session(&self, session: &OpenSession) -> Result<()> {
        end_session(&*self.store, &self.domain_keys(session.domain()), session)
    }

    fn delete_at(&self, location: BackupLocation) -> Result<()> {
        upload::create(&*self.store, "tomb", &location.tomb(), &[])?;
        Ok(())
    }

    fn domain_keys(&self, domain: DomainId) -> DomainKeys {
        self.keys.domain(domain, self.descriptor.id, self.descriptor.encryption)
    }
}

/// Tries the passphrase on each slot.
fn unlock(
    store: &dyn Store,
    repository: &[u8; 16],
    passphrase: &Passphrase,
) -> Result<RepositoryKeys> {
    let mut slots = Vec::new();
    store.list(SLOTS, &mut |entry| {
        slots.push(entry.key);
        if slots.len() > SLOTS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if slots.len() > SLOTS_MAX {
        return Err(Error::damaged(SLOTS, format!("there are more than {SLOTS_MAX} key slots")));
    }
    let (mut tried, mut damaged) = (0, None);
    for key in slots {
        let bytes = store.get(&key, SMALL_OBJECT_BYTES_MAX)?;
        match Slot::parse(&bytes) {
            Ok(slot) => {
                tried += 1;
                if let Some(master) = slot.open(repository, passphrase)? {
                    return Ok(RepositoryKeys::new(master));
                }
            }
            Err(SlotError::Unknown) => {}
            Err(SlotError::Damaged(reason)) => damaged = Some(Error::damaged(&key, reason)),
        }
    }
    match damaged {
        Some(error) if tried == 0 => Err(error),
        _ if tried == 0 => Err(Error::damaged(SLOTS, "there is no key slot for a passphrase")),
        _ => Err(Error::WrongPassphrase { url: store.url(), slots: tried }),
    }
}

fn any_object(store: &dyn Store) -> Result<Option<String>> {
    let mut found = None;
    store.list("", &mut |entry| {
        // What a probe left that could not delete it.
        if entry.key.starts_with("probe/") {
            return ControlFlow::Continue(());
        }
        found = Some(entry.key);
        ControlFlow::Break(())
    })?;
    Ok(found)
}
