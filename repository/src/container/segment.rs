//! Blobs on their way into a container: compressed one behind the other, sealed together when it is
//! known which container they go into and where.

use crate::crypto::{DomainKeys, SealKey, TAG_BYTES};
use crate::error::{Error, Result};
use crate::id::Id;

use super::frame::blob_aad;
use super::{Compression, Entry};

/// A buffer of blobs with room behind each for its tag. Offsets count from its own beginning.
#[derive(Default)]
pub(crate) struct Segment {
    buffer: Vec<u8>,
    used: usize,
    entries: Vec<Entry>,
}

impl Segment {
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    pub(crate) fn blobs(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a blob, compressed if that makes it smaller. Returns the bytes it takes.
    pub(crate) fn push(
        &mut self,
        compressor: &mut zstd::bulk::Compressor<'static>,
        kind: u8,
        id: Id,
        plain: &[u8],
    ) -> Result<u32> {
        let room = self.used + plain.len() + TAG_BYTES;
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        // One byte less than the plaintext: what does not fit in that is not worth it.
        let target = &mut self.buffer[self.used..self.used + plain.len().saturating_sub(1)];
        let (data, compression) = match compressor.compress_to_buffer(plain, target) {
            Ok(length) => (length, Compression::Zstd),
            Err(_) => {
                self.buffer[self.used..self.used + plain.len()].copy_from_slice(plain);
                (plain.len(), Compression::None)
            }
        };
        let [offset, stored_bytes, plain_bytes] =
            [self.used, data + TAG_BYTES, plain.len()].map(u32::try_from);
        let too_long = |_| Error::Internal("bounding a pack");
        let stored_bytes = stored_bytes.map_err(too_long)?;
        let (offset, plain_bytes) = (offset.map_err(too_long)?, plain_bytes.map_err(too_long)?);
        self.entries.push(Entry { id, offset, stored_bytes, plain_bytes, kind, compression });
        self.used += data + TAG_BYTES;
        Ok(stored_bytes)
    }

    /// Moves the blobs of `other` behind its own.
    pub(crate) fn append(&mut self, other: Self) -> Result<()> {
        let shift = u32::try_from(self.used).map_err(|_| Error::Internal("bounding a pack"))?;
        self.buffer.truncate(self.used);
        self.buffer.extend(&other.buffer[..other.used]);
        self.used += other.used;
        self.entries.extend(
            other.entries.into_iter().map(|entry| Entry { offset: entry.offset + shift, ..entry }),
        );
        Ok(())
    }

    /// Seals all blobs for a container in which this segment begins at `base`. The entries, with
    /// offsets in the container, go behind `entries`; the bytes to store are returned.
    pub(crate) fn seal(
        &mut self,
        keys: &DomainKeys,
        key: &SealKey,
        base: u32,
        entries: &mut Vec<Entry>,
    ) -> Result<&[u8]> {
        for entry in self.entries.drain(..) {
            let start = entry.offset as usize;
            let end = start + entry.stored_bytes as usize;
            let offset =
                base.checked_add(entry.offset).ok_or(Error::Internal("bounding a pack"))?;
            let (data, tag) = self.buffer[start..end].split_at_mut(end - start - TAG_BYTES);
            let aad = blob_aad(keys.repository(), entry.kind, &entry.id);
            tag.copy_from_slice(&key.seal(u64::from(offset), &aad, data)?);
            entries.push(Entry { offset, ..entry });
        }
        Ok(&self.buffer[..self.used])
    }

    /// Empties it after [`seal`](Self::seal); the memory stays.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.used = 0;
    }
}
