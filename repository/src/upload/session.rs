//! The session that all workers of an upload share.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::claims::Claims;
use super::early::EarlyIds;
use super::packer::{Packer, SEGMENT_BLOBS, SEGMENT_BYTES};
use super::put::create;
use crate::container::{
    Entry, FIRST_BLOB_AT, RUN_ENTRIES_MAX, Segment, encode_run, header, seal_footer,
};
use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::IndexView;
use crate::manifest::{self, Manifest, ManifestDraft, OUTCOME_BYTES_MAX, Outcome};
use crate::names::{BackupLocation, ContainerId, ContainerRef, Place, SessionId};
use crate::session::{DOUBTFUL_MAX, Mark, MarkKind, put_ack};
use crate::store::{Creation, Store};

/// Bounds and choices of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadLimits {
    /// Memory for the ids of known blocks, in bytes. Beyond it blocks are stored again.
    pub index_memory_bytes: usize,
    /// New entries held until they are written out as an index object; at most 131,072.
    pub session_entries: usize,
    /// New blobs of at most so much in all go into the index object and need no pack; at most 4
    /// MiB.
    pub embedded_bytes: usize,
    /// An upload that builds on a base stores new blobs of at most so much in all without looking
    /// whether the domain has them, which would mean to read its index.
    pub unlooked_bytes: usize,
    /// zstd's level.
    pub compression_level: i32,
}

impl Default for UploadLimits {
    fn default() -> Self {
        // 48 MiB know about 2.3 million blocks: 580 GiB at 256 KiB. 65,536 entries: 16 GiB.
        Self {
            index_memory_bytes: 48 << 20,
            session_entries: 65_536,
            embedded_bytes: SEGMENT_BYTES,
            unlooked_bytes: SEGMENT_BYTES,
            compression_level: 1,
        }
    }
}

/// An upload that has begun and can commit once. Dropped before, nothing of it is ever listed.
#[derive(Debug)]
pub struct Upload {
    store: Arc<dyn Store>,
    keys: Arc<DomainKeys>,
    location: BackupLocation,
    limits: UploadLimits,
    claims: Claims,
    state: Mutex<State>,
    new_bytes: AtomicU64,
    stored_bytes: AtomicU64,
    /// Packs of which a first attempt may still arrive.
    doubtful: Mutex<BTreeSet<ContainerId>>,
    /// Whether another request may not have been answered: then there is no ack.
    in_doubt: AtomicBool,
    is_ended: bool,
}

#[derive(Default)]
struct State {
    /// Entries of durable packs that no index object names yet.
    pending: Vec<(ContainerRef, Vec<Entry>)>,
    pending_entries: usize,
    /// Blobs that go into the last index object itself.
    remainder: Segment,
    failure: Option<Arc<Error>>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("failure", &self.failure).finish_non_exhaustive()
    }
}

impl Upload {
    /// W1: the mark, then one look at what the domain has and what collection has condemned.
    pub(crate) fn begin(
        store: Arc<dyn Store>,
        keys: Arc<DomainKeys>,
        volume: &str,
        limits: UploadLimits,
        client: &str,
    ) -> Result<Self> {
        let (domain, session) = (keys.id(), SessionId::random()?);
        let location = BackupLocation { domain, volume: keys.volume_id(volume), session };
        let key = location.mark();
        let mark = Mark::new(MarkKind::Upload, client, volume).seal(&keys, &key)?;
        let marked = create(&*store, "session", &key, &mark)?;
        let claims = Claims::new(Arc::clone(&store), Arc::clone(&keys), limits.index_memory_bytes);
        let mut upload = Self {
            store,
            keys,
            location,
            limits,
            claims,
            state: Mutex::default(),
            new_bytes: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(0),
            doubtful: Mutex::default(),
            in_doubt: AtomicBool::new(false),
            is_ended: false,
        };
        upload.note(marked);
        // Whoever fails from here on has a session to end.
        upload.claims.view = IndexView::take(&*upload.store, &upload.keys)?;
        Ok(upload)
    }

    /// Changes the memory for the ids of known blocks, in bytes: of effect before the first block is
    /// stored.
    pub fn set_index_memory(&mut self, bytes: usize) {
        self.claims.memory_bytes = bytes;
    }

    /// A packer for one more worker.
    ///
    /// # Errors
    /// `Internal` where the compressor does not start.
    pub fn packer(&self) -> Result<Packer<'_>> {
        Packer::new(self)
    }

    /// The id that the backup will have.
    pub fn id(&self) -> String {
        self.location.session.to_string()
    }

    /// What the user should know: an index object that could not be read.
    pub fn warnings(&self) -> Vec<String> {
        self.claims.warnings()
    }

    /// Whether more blocks are known than memory allows to remember, so that some are stored again.
    pub fn is_deduplication_limited(&self) -> bool {
        self.claims.is_limited()
    }

    /// Plain bytes stored so far that were not known before.
    pub fn new_bytes(&self) -> u64 {
        self.new_bytes.load(Ordering::Relaxed)
    }

    /// W2 to W4: the last index object, the manifest, the ack. All packers must have finished.
    ///
    /// # Errors
    /// `InvalidInput` for a list of mapped chunks that is not the image's, `UploadFailed` if a
    /// worker failed, `Fenced` if maintenance ended the session, and what the store reports. Nothing is
    /// listed then, save for `CommitInDoubt`, which leaves it open whether the (complete) backup is.
    pub fn commit(mut self, draft: ManifestDraft) -> Result<Manifest> {
        draft.check()?;
        self.write_rest()?;
        let stored_bytes = self.stored_bytes.load(Ordering::Relaxed);
        let manifest = Manifest::new(draft, self.location, self.new_bytes(), stored_bytes);
        let bytes = manifest::seal(&self.keys, &manifest)?;
        let key = self.location.outcome();
        // Whatever becomes of this request: it is the session's end.
        self.is_ended = true;
        let committed = create(&*self.store, "outcome", &key, &bytes).and_then(|creation| {
            self.note_attempts(creation);
            match creation {
                Creation::Created | Creation::CreatedInDoubt => Ok(manifest),
                Creation::AlreadyExists | Creation::AlreadyExistsInDoubt => {
                    self.compare_outcome(&key, &bytes).map(|()| manifest)
                }
            }
        });
        let committed = committed.map_err(|error| match error.leaves_doubt() {
            true => Error::CommitInDoubt { id: self.id(), cause: Box::new(error) },
            false => error,
        });
        if matches!(committed, Ok(_) | Err(Error::Fenced { .. })) {
            self.acknowledge();
        }
        committed
    }

    /// Ends a session that is to have no backup, once all it stored is in the index. All packers must
    /// have finished. Returns the length of the stored objects in bytes.
    pub(crate) fn publish(mut self) -> Result<u64> {
        self.write_rest()?;
        self.is_ended = true;
        self.end_without_backup()?;
        Ok(self.stored_bytes.load(Ordering::Relaxed))
    }

    fn end_without_backup(&self) -> Result<()> {
        let fence = manifest::seal_fence(&self.keys, &self.location)?;
        let created = create(&*self.store, "fence", &self.location.outcome(), &fence)?;
        self.note_attempts(created);
        self.acknowledge();
        Ok(())
    }

    /// W2: the last index objects.
    fn write_rest(&self) -> Result<()> {
        let state = {
            let mut state = self.lock();
            if let Some(cause) = state.failure.take() {
                return Err(Error::UploadFailed { cause });
            }
            std::mem::take(&mut *state)
        };
        self.write_index(state.pending, Segment::default()).map_err(|error| self.fail(error))?;
        self.write_index(Vec::new(), state.remainder).map_err(|error| self.fail(error))
    }

    /// An outcome stands in our place: our own of a request whose answer was lost, or a fence.
    fn compare_outcome(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let found = self.store.get(key, OUTCOME_BYTES_MAX)?;
        if found == bytes {
            self.in_doubt.store(true, Ordering::Relaxed);
            return Ok(());
        }
        match manifest::open(&self.keys, self.location, &found)? {
            Outcome::Fenced => Err(Error::Fenced { session: self.id() }),
            Outcome::Backup(_) => Err(Error::damaged(key, "it holds another backup")),
        }
    }

    /// W4, the session's last request.
    fn acknowledge(&self) {
        let doubtful = self.doubtful.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.in_doubt.load(Ordering::Relaxed) && doubtful.len() <= DOUBTFUL_MAX {
            // The session has ended whether or not the ack arrives: without it, collection keeps a
            // few small keys longer.
            let _ = put_ack(&*self.store, &self.keys, self.location.session, &doubtful);
        }
    }

    /// What may be gone at any moment, as W1 saw it.
    pub(crate) fn condemned(&self) -> BTreeSet<ContainerRef> {
        self.claims.view.condemned()
    }

    pub(crate) fn keys(&self) -> &Arc<DomainKeys> {
        &self.keys
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub(super) fn view(&self) -> &IndexView {
        &self.claims.view
    }

    pub(super) fn location(&self) -> BackupLocation {
        self.location
    }

    pub(super) fn session(&self) -> SessionId {
        self.location.session
    }

    pub(super) fn compression_level(&self) -> i32 {
        self.limits.compression_level
    }

    /// Says what is known without the index.
    pub(super) fn know_early(&self, known: HashSet<Id>) {
        self.claims.know_early(EarlyIds::new(known, self.limits.unlooked_bytes));
    }

    /// Whether the caller is to store this blob of so many bytes; see [`Claims::claim`].
    pub(super) fn claim(&self, id: &Id, bytes: usize) -> Result<bool> {
        self.claims.claim(id, bytes)
    }

    pub(super) fn count_new(&self, plain_bytes: usize) {
        self.new_bytes.fetch_add(plain_bytes as u64, Ordering::Relaxed);
    }

    /// For a key where others create, too.
    fn note_attempts(&self, creation: Creation) {
        if matches!(creation, Creation::CreatedInDoubt | Creation::AlreadyExistsInDoubt) {
            self.note(creation);
        }
    }

    /// Names are random and ours alone: an object that exists already is an earlier request's.
    pub(super) fn note(&self, creation: Creation) {
        if creation != Creation::Created {
            self.in_doubt.store(true, Ordering::Relaxed);
        }
    }

    /// As [`note`](Self::note), of a pack: of these the ack can tell.
    pub(super) fn note_pack(&self, pack: ContainerRef, creation: Creation) {
        if creation != Creation::Created {
            self.doubtful.lock().unwrap_or_else(PoisonError::into_inner).insert(pack.id);
        }
    }

    /// Makes a commit impossible; the first failure is the upload's.
    pub(super) fn fail(&self, error: Error) -> Error {
        if error.leaves_doubt() {
            self.in_doubt.store(true, Ordering::Relaxed);
        }
        let mut state = self.lock();
        let cause = state.failure.get_or_insert_with(|| Arc::new(error));
        Error::UploadFailed { cause: Arc::clone(cause) }
    }

    /// Runs a step of a worker: not after a failure, and its own failure is the upload's.
    pub(super) fn guard<T>(&self, step: impl FnOnce() -> Result<T>) -> Result<T> {
        if let Some(cause) = self.lock().failure.clone() {
            return Err(Error::UploadFailed { cause });
        }
        step().map_err(|error| self.fail(error))
    }

    /// Takes a small segment for the last index object, or gives it back if there is no room.
    pub(super) fn take_remainder(&self, segment: Segment) -> Result<Option<Segment>> {
        let mut state = self.lock();
        let rest = &mut state.remainder;
        if rest.len() + segment.len() <= self.limits.embedded_bytes.min(SEGMENT_BYTES)
            && rest.blobs() + segment.blobs() <= SEGMENT_BLOBS
        {
            rest.append(segment)?;
            return Ok(None);
        }
        Ok(Some(segment))
    }

    /// A pack is durable. When enough entries have come together an index object is written.
    pub(super) fn add_pack(
        &self,
        container: ContainerRef,
        entries: Vec<Entry>,
        bytes: u64,
    ) -> Result<()> {
        self.stored_bytes.fetch_add(bytes, Ordering::Relaxed);
        let full = {
            let mut state = self.lock();
            state.pending_entries += entries.len();
            state.pending.push((container, entries));
            if state.pending_entries < self.limits.session_entries.min(RUN_ENTRIES_MAX / 2) {
                return Ok(());
            }
            state.pending_entries = 0;
            std::mem::take(&mut state.pending)
        };
        self.write_index(full, Segment::default())
    }

    /// W2: an index object over durable packs, or over the blobs it carries itself; never both, since
    /// the one is merged and the other collected.
    fn write_index(
        &self,
        mut groups: Vec<(ContainerRef, Vec<Entry>)>,
        mut carried: Segment,
    ) -> Result<()> {
        if groups.is_empty() && carried.is_empty() {
            return Ok(());
        }
        let id = ContainerId::random(self.session())?;
        let container = ContainerRef { place: Place::Index, id };
        let key = self.keys.container_key(id)?;
        let mut bytes = header(self.keys.repository(), container).to_vec();
        if !carried.is_empty() {
            let mut entries = Vec::with_capacity(carried.blobs());
            let sealed = carried.seal(&self.keys, &key, FIRST_BLOB_AT, &mut entries)?;
            bytes.extend(sealed);
            groups.push((container, entries));
        }
        let run = encode_run(&groups)?;
        let offset = bytes.len() as u64;
        bytes.extend(seal_footer(&self.keys, &key, container, offset, run)?);
        let name = container.key(self.keys.id());
        self.note(create(&*self.store, "index", &name, &bytes)?);
        self.stored_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Upload {
    /// Without a commit: ends the session, so that collection need not wait for it. A request whose
    /// answer is missing leaves that to collection, and so does a store that says no.
    fn drop(&mut self) {
        if self.is_ended || self.in_doubt.load(Ordering::Relaxed) {
            return;
        }
        let _ = self.end_without_backup();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Encryption, RepositoryKeys, Secret};
    use crate::manifest::Source;
    use crate::names::DomainId;
    use crate::store::DirectoryStore;
    use thinmover_io::IoEngine;

    fn keys() -> Arc<DomainKeys> {
        let keys = RepositoryKeys::new(Secret::new([1; 32]));
        Arc::new(keys.domain(DomainId([2; 16]), [3; 16], Encryption::default()))
    }

    fn begun() -> (tempfile::TempDir, Arc<dyn Store>, Upload) {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> =
            Arc::new(DirectoryStore::new(dir.path().join("r"), IoEngine::default()));
        let limits = UploadLimits::default();
        let upload = Upload::begin(Arc::clone(&store), keys(), "volume", limits, "").unwrap();
        (dir, store, upload)
    }

    #[test]
    fn more_doubtful_packs_than_an_ack_can_name_leave_none() {
        for (doubtful, is_acked) in [(DOUBTFUL_MAX, true), (DOUBTFUL_MAX + 1, false)] {
            let (_dir, store, upload) = begun();
            let ack = crate::names::ack(upload.location.domain, upload.session());
            for _ in 0..doubtful {
                let id = ContainerId::random(upload.session()).unwrap();
                let pack = ContainerRef { place: Place::Pack, id };
                upload.note_pack(pack, Creation::CreatedInDoubt);
            }
            upload.publish().unwrap();
            assert_eq!(store.size(&ack).is_ok(), is_acked);
        }
    }

    #[test]
    fn a_fenced_session_does_not_commit_and_acknowledges() {
        let (_dir, store, upload) = begun();
        let (location, id) = (upload.location, upload.id());
        let fence = manifest::seal_fence(&keys(), &location).unwrap();
        store.create(&location.outcome(), &fence).unwrap();
        let image = upload.image_builder(0, 1 << 16).unwrap().finish().unwrap();
        let draft = ManifestDraft {
            source: Source::default(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
            tier: "full".to_owned(),
            reason: String::new(),
            image,
            mapped: None,
            lineage: None,
            read_bytes: 0,
            labels: Default::default(),
            ttl: None,
            previous: None,
        };
        let error = upload.commit(draft).unwrap_err();
        assert!(matches!(&error, Error::Fenced { session } if *session == id), "{error}");
        assert!(store.size(&crate::names::ack(location.domain, location.session)).is_ok());
        assert_eq!(store.get(&location.outcome(), 1000).unwrap(), fence);
        assert!(crate::listing::read(&*store, &keys(), location).unwrap().is_none());
    }
}
