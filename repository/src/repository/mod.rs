//! A repository: made, opened, and what can be done with it. [`backups`] is what it has.

mod backups;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::collect::{self, MaintainOptions, MaintainProgress, MaintainReport};
use crate::config::{Descriptor, UnprovenConfig};
use crate::crypto::{
    DomainKeys, Encryption, Passphrase, PassphraseCost, RepositoryKeys, Slot, SlotError, random,
    random_secret, seal_slot,
};
use crate::error::{Error, Result};
use crate::listing;
use crate::manifest::Manifest;
use crate::names::{self, CONFIG, Domain, DomainId, SLOTS, VolumeKey};
use crate::restore::{Image, ReadLimits};
use crate::session::{OpenSession, end_session, open_sessions};
use crate::store::{Cache, CachedStore, Creation, GiveUp, Store};
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
    /// The same without this host's cache.
    origin: Arc<dyn Store>,
    descriptor: Descriptor,
    keys: Arc<RepositoryKeys>,
    /// Stands in the marks it leaves while it uploads or reads.
    client: Arc<str>,
    /// Where a backup is looked for first.
    home: Option<DomainId>,
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
        let origin = Arc::clone(&store);
        let (keys, client) = (Arc::new(keys), Arc::from(""));
        Self { store, origin, descriptor, keys, client, home: None }
    }

    /// Says who this is: a host's name, shown to an operator who asks what still uses the repository.
    #[must_use]
    pub fn with_client(self, client: &str) -> Self {
        Self { client: Arc::from(client), ..self }
    }

    /// Says which domain is this host's own: a backup that is named by its whole id is looked for there
    /// first, and in that of others only if it is not found.
    #[must_use]
    pub fn with_home(self, domain: &Domain) -> Self {
        Self { home: Some(self.keys.domain_id(&domain.0)), ..self }
    }

    /// Keeps small objects that never change in `folder`, of at most `bytes_max` in all, below the
    /// repository's id. All of it may be deleted at any time.
    #[must_use]
    pub fn with_cache(self, folder: &Path, bytes_max: u64) -> Self {
        let cache = Cache::new(folder.join(hex::encode(self.descriptor.id)), bytes_max);
        let inner = Arc::clone(&self.origin);
        Self { store: Arc::new(CachedStore { inner, cache: Arc::new(cache) }), ..self }
    }

    /// The same repository for one job, whose requests to the store end once `give_up` says so; see
    /// [`Store::until`].
    #[must_use]
    pub fn until(&self, give_up: &GiveUp) -> Self {
        let until =
            |store: &Arc<dyn Store>| store.until(give_up).unwrap_or_else(|| Arc::clone(store));
        Self { store: until(&self.store), origin: until(&self.origin), ..self.clone() }
    }

    /// The same repository through another store.
    #[cfg(test)]
    pub(crate) fn over(&self, store: Arc<dyn Store>) -> Self {
        Self { origin: Arc::clone(&store), store, ..self.clone() }
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
            backups += listing::live(&*self.store, domain, None)?.0.len() as u64;
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
        if volume.0 == collect::REPACKED {
            let message = format!("`{}` is what maintenance calls a volume of its own", volume.0);
            return Err(Error::InvalidInput(message));
        }
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
        let keys = self.domain_keys(backup.location().domain);
        let (store, limits) = (Arc::clone(&self.origin), ReadLimits::default());
        // What this host keeps proves nothing of what is stored.
        if listing::read(&*store, &keys, backup.location())?.is_none() {
            return Err(Error::BackupNotFound { id: backup.id.clone() });
        }
        let image = Image::open(store, keys, backup, limits, &self.client)?;
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
            let keys = self.domain_keys(domain);
            let collected =
                collect::maintain(&self.store, &keys, &self.client, options, on_progress)?;
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

    fn domain_keys(&self, domain: DomainId) -> Arc<DomainKeys> {
        let Descriptor { id, encryption, .. } = self.descriptor;
        Arc::new(self.keys.domain(domain, id, encryption))
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
