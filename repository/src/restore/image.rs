//! One backup's image, open for reading.

use std::collections::HashMap;
use std::sync::Arc;

use super::blobs::read_located;
use super::plan::{PackRead, PlannedBlob, plan};
use crate::container::BlobOpener;
use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::id::{BlobKind, Id};
use crate::image::{BlobSource, ImageDiff, ImageRoot, ImageWalk, Window, block_ids};
use crate::index::{DomainIndex, IndexView, Located};
use crate::keep;
use crate::listing;
use crate::manifest::Manifest;
use crate::mapped::{MappedChunks, MappedRoot};
use crate::names::{BackupLocation, ContainerRef, SessionId};
use crate::session::ReaderMark;
use crate::store::{RangeBuffer, Store};

/// Bounds of what reading holds in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Decoded index runs that are kept, in bytes; one run (up to 15 MiB) is always held.
    pub index_cache_bytes: usize,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self { index_cache_bytes: 48 << 20 }
    }
}

/// An image to read from. Shared by reference between the threads of a restore.
#[derive(Debug)]
pub struct Image {
    store: Arc<dyn Store>,
    keys: Arc<DomainKeys>,
    index: DomainIndex,
    root: ImageRoot,
    mapped: Option<MappedRoot>,
    location: BackupLocation,
    object: String,
    /// Held as long as the image is read.
    mark: Option<ReaderMark>,
    /// The upload that builds on it and protects it, if that is what it was opened for.
    upload: Option<SessionId>,
}

impl Image {
    /// Opens a backup that stays what it is while it is read, also if it is deleted meanwhile: the
    /// mark first, then the look at the index, then whether the backup is live.
    pub(crate) fn open(
        store: Arc<dyn Store>,
        keys: Arc<DomainKeys>,
        manifest: &Manifest,
        limits: ReadLimits,
        client: &str,
    ) -> Result<Self> {
        let mark = ReaderMark::put(&store, &keys, client, manifest)?;
        let view = IndexView::take(&*store, &keys)?;
        let image = Self { mark, ..Self::new(store, keys, manifest, &view, limits)? };
        if !listing::is_live(&*image.store, image.location)? {
            return Err(Error::BackupNotFound { id: manifest.id.clone() });
        }
        Ok(image)
    }

    /// As [`open`](Self::open), for an upload that may build on it: by its look at the index.
    pub(crate) fn for_upload(
        store: Arc<dyn Store>,
        keys: Arc<DomainKeys>,
        manifest: &Manifest,
        view: &IndexView,
        limits: ReadLimits,
        upload: SessionId,
    ) -> Result<Self> {
        Ok(Self { upload: Some(upload), ..Self::new(store, keys, manifest, view, limits)? })
    }

    fn new(
        store: Arc<dyn Store>,
        keys: Arc<DomainKeys>,
        manifest: &Manifest,
        view: &IndexView,
        limits: ReadLimits,
    ) -> Result<Self> {
        let index = DomainIndex::new(view, limits.index_cache_bytes);
        let root = manifest.image_root()?;
        let mapped = manifest.mapped_root()?;
        let location = manifest.location();
        let object = location.outcome();
        Ok(Self { store, keys, index, root, mapped, location, object, mark: None, upload: None })
    }

    /// Whether collection knows that this image is read. It does not where this process may not
    /// write to the store.
    pub fn is_marked(&self) -> bool {
        self.mark.is_some()
    }

    /// Sizes of the image.
    pub fn root(&self) -> ImageRoot {
        self.root
    }

    /// Begins to read the ids of its blocks, in order.
    pub fn walk(&self) -> ImageWalk<'_> {
        ImageWalk::new(self, self.root)
    }

    /// The id of a block with these bytes, [`Id::HOLE`] for zeroes.
    pub fn block_id(&self, plain: &[u8]) -> Id {
        if plain.iter().all(|&byte| byte == 0) {
            Id::HOLE
        } else {
            self.keys.blob_id(BlobKind::Data, plain)
        }
    }

    /// The ids of some of its blocks, whose numbers ascend, in their order.
    ///
    /// # Errors
    /// `InvalidInput` for blocks that do not ascend or are not its own, and what reading a node can
    /// meet.
    pub fn block_ids(&self, blocks: &[u64]) -> Result<Vec<Id>> {
        block_ids(self, self.root, blocks)
    }

    /// Begins to compare with another image of the same domain and block size: what must change in
    /// `before` to make it this one.
    ///
    /// # Errors
    /// `InvalidInput` for an image that cannot be compared.
    pub fn diff<'i>(&'i self, before: &'i Self) -> Result<ImageDiff<'i>> {
        if before.keys.id() != self.keys.id() || before.keys.repository() != self.keys.repository()
        {
            return Err(Error::InvalidInput(
                "images of two domains cannot be compared by their ids".to_owned(),
            ));
        }
        ImageDiff::new((before, before.root), (self, self.root))
    }

    /// Sizes of the list of mapped chunks, where the backup has one.
    pub fn mapped(&self) -> Option<MappedRoot> {
        self.mapped
    }

    /// Begins to read the list of mapped chunks, in order, where the backup has one.
    pub fn mapped_chunks(&self) -> Option<MappedChunks<'_>> {
        self.mapped.map(|list| MappedChunks::new(self, list))
    }

    /// The reads that give all blocks of a window which are not holes, sorted by object and offset.
    ///
    /// # Errors
    /// `BlockMissing` where an id is in no index, `Damaged` where a blob cannot be the block's, and
    /// what reading an index can meet.
    pub fn plan(&self, window: &Window) -> Result<Vec<PackRead>> {
        self.plan_blocks((window.first_block..).zip(window.ids.iter().copied()))
    }

    /// As [`plan`](Self::plan), for blocks in ascending order that need not be neighbours.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn plan_blocks(
        &self,
        blocks: impl IntoIterator<Item = (u64, Id)>,
    ) -> Result<Vec<PackRead>> {
        let mut blocks: Vec<(Id, u64)> = blocks
            .into_iter()
            .filter(|(_, id)| !id.is_hole())
            .map(|(block, id)| (id, block))
            .collect();
        blocks.sort_unstable();
        let groups: Vec<(Id, Vec<u64>)> = blocks
            .chunk_by(|a, b| a.0 == b.0)
            .map(|group| (group[0].0, group.iter().map(|(_, block)| *block).collect()))
            .collect();
        let ids: Vec<Id> = groups.iter().map(|(id, _)| *id).collect();
        let located = self.locate(&ids)?;
        let mut blobs = Vec::with_capacity(groups.len());
        for (id, blocks) in groups {
            let Located { container, entry, .. } = found(&located, &id)?;
            let fits = |block: &u64| self.root.block_length(*block) == entry.plain_bytes;
            if entry.kind != BlobKind::Data.byte() || !blocks.iter().all(fits) {
                let reason = format!("{id} is not the length and kind of its blocks");
                return Err(Error::damaged(&self.object, reason));
            }
            blobs.push((container, PlannedBlob { blocks, entry }));
        }
        Ok(self.planned(blobs))
    }

    /// Reads the bytes of `read` into `out`, reusing its memory; or says what to read instead where
    /// maintenance has stored what was there in another object. That happens to a reader without a
    /// [mark](Self::is_marked) only.
    ///
    /// # Errors
    /// What the store reports, and what [`plan`](Self::plan) can meet.
    pub fn fetch(&self, read: &PackRead, out: &mut RangeBuffer) -> Result<Fetched> {
        let end = read.offset + read.length;
        match self.store.get_range(&read.object, read.offset..end, out) {
            Ok(()) => Ok(Fetched::Bytes),
            Err(error) if error.is_not_found() => self.find_again(read, error.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// [Fetches](Self::fetch) one read after the other, wherever they have moved to. `each` is given a
    /// read and its bytes.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch), and what `each` returns.
    pub fn fetch_each(
        &self,
        mut reads: Vec<PackRead>,
        out: &mut RangeBuffer,
        each: &mut dyn FnMut(&PackRead, &[u8]) -> Result<()>,
    ) -> Result<()> {
        while let Some(read) = reads.pop() {
            match self.fetch(&read, out)? {
                Fetched::Bytes => each(&read, out)?,
                Fetched::Moved(instead) => reads.extend(instead),
            }
        }
        Ok(())
    }

    /// What to read instead of `read`, whose object is gone; `gone` where the index still names it.
    fn find_again(&self, read: &PackRead, gone: Error) -> Result<Fetched> {
        let ids: Vec<Id> = read.blobs.iter().map(PlannedBlob::id).collect();
        let located = self.locate_anew(&ids)?;
        let mut blobs = Vec::with_capacity(ids.len());
        for blob in &read.blobs {
            let Located { container, entry, .. } = found(&located, &blob.id())?;
            if container == read.container {
                return Err(gone);
            }
            if entry.kind != blob.entry.kind || entry.plain_bytes != blob.entry.plain_bytes {
                let reason = format!("{} has two lengths or kinds", blob.id());
                return Err(Error::damaged(&self.object, reason));
            }
            blobs.push((container, PlannedBlob { blocks: blob.blocks.clone(), entry }));
        }
        Ok(Fetched::Moved(self.planned(blobs)))
    }

    fn planned(&self, blobs: Vec<(ContainerRef, PlannedBlob)>) -> Vec<PackRead> {
        plan(blobs, |container| container.key(self.keys.id()))
    }

    /// What opens blobs on one thread.
    ///
    /// # Errors
    /// `Internal` where the decompressor does not start.
    pub fn opener(&self) -> Result<Opener<'_>> {
        Ok(Opener(BlobOpener::new(&self.keys)?))
    }

    fn locate(&self, ids: &[Id]) -> Result<HashMap<Id, Located>> {
        self.index.locate(&*self.store, &self.keys, ids)
    }

    /// As [`locate_available`](Self::locate_available), by a new look at the store: what was found is
    /// gone.
    pub(crate) fn locate_anew(&self, ids: &[Id]) -> Result<HashMap<Id, Located>> {
        self.index.look_again(&*self.store, &self.keys)?;
        self.locate_available(ids)
    }

    pub(crate) fn locate_available(&self, ids: &[Id]) -> Result<HashMap<Id, Located>> {
        self.index.locate_available(&*self.store, &self.keys, ids)
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(crate) fn keys(&self) -> &DomainKeys {
        &self.keys
    }

    pub(crate) fn upload(&self) -> Option<SessionId> {
        self.upload
    }

    pub(crate) fn location(&self) -> BackupLocation {
        self.location
    }

    pub(crate) fn index(&self) -> &DomainIndex {
        &self.index
    }
}

impl BlobSource for Image {
    fn read_blobs(
        &self,
        kind: BlobKind,
        bytes_max: usize,
        ids: &[Id],
    ) -> Result<HashMap<Id, Vec<u8>>> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let mut blobs = HashMap::with_capacity(ids.len());
        ids.retain(|id| match keep::blob(&*self.store, &self.keys, kind, id) {
            Some(plain) if plain.len() <= bytes_max => {
                blobs.insert(*id, plain);
                false
            }
            _ => true,
        });
        if ids.is_empty() {
            return Ok(blobs);
        }
        let mut located = self.locate(&ids)?;
        let read = loop {
            let places = located.values().map(|it| (it.container, it.entry));
            match read_located(&*self.store, &self.keys, &self.object, kind, bytes_max, places) {
                Err(error) if error.is_not_found() => {
                    let again = self.locate_anew(&ids)?;
                    if again.len() < ids.len() || again == located {
                        return Err(error);
                    }
                    located = again;
                }
                read => break read?,
            }
        };
        for (id, plain) in &read {
            keep::keep_blob(&*self.store, &self.keys, kind, id, plain);
        }
        blobs.extend(read);
        Ok(blobs)
    }

    fn object(&self) -> &str {
        &self.object
    }
}

/// What became of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Fetched {
    /// Its bytes are there.
    Bytes,
    /// Its object is gone, and these give the same blobs.
    Moved(Vec<PackRead>),
}

/// Opens blobs on one thread, reusing its buffers.
pub struct Opener<'i>(BlobOpener<'i>);

impl Opener<'_> {
    /// The proven plaintext of one of `read`'s blobs, into `plain` (what it held is gone, its
    /// memory is reused). `bytes` is what [`Image::fetch`] gave for `read`. After an error `plain`
    /// is empty.
    ///
    /// # Errors
    /// `Damaged`, naming the object and the range.
    pub fn open(
        &mut self,
        read: &PackRead,
        bytes: &[u8],
        blob: &PlannedBlob,
        plain: &mut Vec<u8>,
    ) -> Result<()> {
        self.0.open(read.container, &blob.entry, sealed(read, bytes, blob), plain)
    }

    /// As [`open`](Self::open), into a `plain` that is as long as [`PlannedBlob::plain_bytes`] says.
    /// After an error it is all zeroes.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_into(
        &mut self,
        read: &PackRead,
        bytes: &[u8],
        blob: &PlannedBlob,
        plain: &mut [u8],
    ) -> Result<()> {
        self.0.open_into(read.container, &blob.entry, sealed(read, bytes, blob), plain)
    }
}

/// The sealed bytes of a blob in those of its read; fewer where that is cut off.
pub(super) fn sealed<'b>(read: &PackRead, bytes: &'b [u8], blob: &PlannedBlob) -> &'b [u8] {
    let range = [u64::from(blob.entry.offset), blob.entry.end()]
        .map(|at| at.checked_sub(read.offset).and_then(|at| usize::try_from(at).ok()));
    match range {
        [Some(start), Some(end)] => bytes.get(start..end).unwrap_or_default(),
        _ => &[],
    }
}

fn found(located: &HashMap<Id, Located>, id: &Id) -> Result<Located> {
    let hint = String::new();
    located.get(id).copied().ok_or(Error::BlockMissing { id: *id, hint })
}
