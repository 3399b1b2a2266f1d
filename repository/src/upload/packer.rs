//! One worker's way of storing blobs: compress into a segment, seal it into a pack, stream the pack
//! to the store.

use super::put::finish;
use super::session::Upload;
use crate::container::{
    BLOB_BYTES_MAX, Entry, HEADER_BYTES, Segment, encode_run, header, seal_footer,
};
use crate::crypto::SealKey;
use crate::error::{Error, Result};
use crate::id::{BlobKind, Id};
use crate::image::BlobSink;
use crate::keep::keep_blob;
use crate::names::{ContainerId, ContainerRef, Place};
use crate::store::ObjectWriter;

/// A pack is closed once it holds so much.
const PACK_BYTES: u32 = 32 << 20;
const PACK_BLOBS: usize = 8192;
/// A segment is sealed and written once it holds so much.
pub(super) const SEGMENT_BYTES: usize = 4 << 20;
pub(super) const SEGMENT_BLOBS: usize = 4096;

/// What became of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub id: Id,
    /// Whether it was not known before.
    pub new: bool,
    /// Bytes it takes in the store, 0 if it was known.
    pub stored_bytes: u32,
}

/// Stores blobs for one worker. It holds one segment of about 4 MiB. Any failure, and dropping it
/// with blobs not yet stored, fails the whole upload.
pub struct Packer<'u> {
    upload: &'u Upload,
    compressor: zstd::bulk::Compressor<'static>,
    segment: Segment,
    pack: Option<OpenPack>,
}

struct OpenPack {
    container: ContainerRef,
    key: SealKey,
    writer: Box<dyn ObjectWriter>,
    written: u32,
    entries: Vec<Entry>,
}

impl<'u> Packer<'u> {
    pub(super) fn new(upload: &'u Upload) -> Result<Self> {
        let compressor = zstd::bulk::Compressor::new(upload.compression_level())
            .map_err(|_| Error::Internal("starting zstd"))?;
        Ok(Self { upload, compressor, segment: Segment::default(), pack: None })
    }

    /// Stores a block of an image, unless the domain has it. The caller leaves out blocks of
    /// zeroes.
    ///
    /// # Errors
    /// `InvalidInput` for a block that is empty or over 8 MiB, `UploadFailed` with the
    /// first failure of any worker: what the store reported.
    pub fn store_block(&mut self, plain: &[u8]) -> Result<Stored> {
        self.store(BlobKind::Data, plain)
    }

    /// Makes everything it took durable, or leaves a small rest to the commit.
    ///
    /// # Errors
    /// What the store reports.
    pub fn finish(mut self) -> Result<()> {
        self.settle()
    }

    /// Stores a blob whether or not the domain has it.
    pub(crate) fn store_again(&mut self, kind: BlobKind, plain: &[u8]) -> Result<()> {
        let upload = self.upload;
        upload.guard(|| self.push(kind, upload.keys().blob_id(kind, plain), plain).map(drop))
    }

    fn store(&mut self, kind: BlobKind, plain: &[u8]) -> Result<Stored> {
        if !(1..=BLOB_BYTES_MAX).contains(&plain.len()) {
            let message = format!("a block of {} bytes cannot be stored", plain.len());
            return Err(Error::InvalidInput(message));
        }
        let upload = self.upload;
        upload.guard(|| {
            let id = upload.keys().blob_id(kind, plain);
            if !upload.claim(&id, plain.len())? {
                return Ok(Stored { id, new: false, stored_bytes: 0 });
            }
            let stored_bytes = self.push(kind, id, plain)?;
            match kind {
                BlobKind::Data => upload.count_new(plain.len()),
                // The next upload builds on it.
                _ => keep_blob(&**upload.store(), upload.keys(), kind, &id, plain),
            }
            Ok(Stored { id, new: true, stored_bytes })
        })
    }

    fn push(&mut self, kind: BlobKind, id: Id, plain: &[u8]) -> Result<u32> {
        let stored_bytes = self.segment.push(&mut self.compressor, kind.byte(), id, plain)?;
        if self.segment.len() >= SEGMENT_BYTES || self.segment.blobs() >= SEGMENT_BLOBS {
            self.flush()?;
        }
        Ok(stored_bytes)
    }

    fn flush(&mut self) -> Result<()> {
        if self.segment.is_empty() {
            return Ok(());
        }
        let pack = match &mut self.pack {
            Some(pack) => pack,
            None => self.pack.insert(OpenPack::begin(self.upload)?),
        };
        let bytes =
            self.segment.seal(self.upload.keys(), &pack.key, pack.written, &mut pack.entries)?;
        pack.append(bytes)?;
        self.segment.clear();
        if pack.written >= PACK_BYTES || pack.entries.len() >= PACK_BLOBS {
            self.close_pack()?;
        }
        Ok(())
    }

    fn close_pack(&mut self) -> Result<()> {
        let Some(pack) = self.pack.take() else { return Ok(()) };
        let (container, entries, bytes) = pack.close(self.upload)?;
        self.upload.add_pack(container, entries, bytes)
    }
}

impl BlobSink for Packer<'_> {
    fn store_blob(&mut self, kind: BlobKind, plain: &[u8]) -> Result<Id> {
        self.store(kind, plain).map(|stored| stored.id)
    }

    fn settle(&mut self) -> Result<()> {
        let upload = self.upload;
        upload.guard(|| {
            if self.pack.is_none() {
                match upload.take_remainder(std::mem::take(&mut self.segment))? {
                    None => return Ok(()),
                    Some(segment) => self.segment = segment,
                }
            }
            self.flush()?;
            self.close_pack()
        })
    }
}

impl Drop for Packer<'_> {
    fn drop(&mut self) {
        if self.pack.is_some() || !self.segment.is_empty() {
            self.upload.fail(Error::WorkerLost);
        }
    }
}

impl OpenPack {
    fn begin(upload: &Upload) -> Result<Self> {
        let id = ContainerId::random(upload.session())?;
        let container = ContainerRef { place: Place::Pack, id };
        let key = upload.keys().container_key(id)?;
        let expected = u64::from(PACK_BYTES) + SEGMENT_BYTES as u64;
        let writer = upload.store().writer(&container.key(upload.keys().id()), expected)?;
        let mut pack = Self { container, key, writer, written: 0, entries: Vec::new() };
        pack.append(&header(upload.keys().repository(), container))?;
        debug_assert_eq!(pack.written as usize, HEADER_BYTES);
        Ok(pack)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.append(bytes)?;
        let written = u32::try_from(bytes.len()).ok().and_then(|n| self.written.checked_add(n));
        self.written = written.ok_or(Error::Internal("bounding a pack"))?;
        Ok(())
    }

    fn close(mut self, upload: &Upload) -> Result<(ContainerRef, Vec<Entry>, u64)> {
        let groups = [(self.container, self.entries)];
        let run = encode_run(&groups)?;
        let [(_, entries)] = groups;
        let offset = u64::from(self.written);
        let end = seal_footer(upload.keys(), &self.key, self.container, offset, run)?;
        self.writer.append(&end)?;
        let bytes = offset + end.len() as u64;
        upload.note_pack(self.container, finish("pack", self.writer)?);
        Ok((self.container, entries, bytes))
    }
}
