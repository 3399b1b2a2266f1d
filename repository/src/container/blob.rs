//! Opening a blob: unseal, decompress to the exact length, compute the id again.

use crate::crypto::{DomainKeys, SealKey, TAG_BYTES};
use crate::error::{Error, Result};
use crate::names::{ContainerId, ContainerRef};

use super::frame::blob_aad;
use super::{Compression, Entry};

/// Opens blobs of one domain on one thread; keeps its buffers and the last container's key.
pub(crate) struct BlobOpener<'k> {
    keys: &'k DomainKeys,
    last_key: Option<(ContainerId, SealKey)>,
    compressed: Vec<u8>,
    decompressor: zstd::bulk::Decompressor<'static>,
}

impl<'k> BlobOpener<'k> {
    pub(crate) fn new(keys: &'k DomainKeys) -> Result<Self> {
        let decompressor =
            zstd::bulk::Decompressor::new().map_err(|_| Error::Internal("starting zstd"))?;
        Ok(Self { keys, last_key: None, compressed: Vec::new(), decompressor })
    }

    /// The plaintext of the blob whose sealed bytes are `sealed`, into `plain`. After an error
    /// `plain` is empty: unproven bytes are never handed on.
    pub(crate) fn open(
        &mut self,
        container: ContainerRef,
        entry: &Entry,
        sealed: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<()> {
        // Bounded: no index names a longer blob.
        plain.resize(entry.plain_bytes as usize, 0);
        let opened = self.open_into(container, entry, sealed, plain);
        opened.inspect_err(|_| plain.clear())
    }

    /// The same, into a `plain` as long as the entry says. After an error it is all zeroes.
    pub(crate) fn open_into(
        &mut self,
        container: ContainerRef,
        entry: &Entry,
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<()> {
        let opened = self.try_open(container, entry, sealed, plain);
        opened.map_err(|reason| {
            plain.fill(0);
            let range = u64::from(entry.offset)..entry.end();
            Error::damaged_at(&container.key(self.keys.id()), range, reason)
        })
    }

    fn try_open(
        &mut self,
        container: ContainerRef,
        entry: &Entry,
        sealed: &[u8],
        plain: &mut [u8],
    ) -> std::result::Result<(), &'static str> {
        if self.last_key.as_ref().is_none_or(|(id, _)| *id != container.id) {
            let key = self.keys.container_key(container.id).map_err(|_| "no key can be made")?;
            self.last_key = Some((container.id, key));
        }
        let Some((_, key)) = &self.last_key else { return Err("no key can be made") };
        if sealed.len() != entry.stored_bytes as usize {
            return Err("it is cut off");
        }
        if plain.len() != entry.plain_bytes as usize {
            return Err("its length is not what the index says");
        }
        let aad = blob_aad(self.keys.repository(), entry.kind, &entry.id);
        let nonce = u64::from(entry.offset);
        let length = match entry.compression {
            Compression::None => {
                if !key.open_into(nonce, &aad, sealed, plain) {
                    return Err("its bytes are not what was written");
                }
                plain.len()
            }
            Compression::Zstd => {
                // Never shorter again, so that only what is new is zeroed.
                let length = sealed.len().saturating_sub(TAG_BYTES);
                if self.compressed.len() < length {
                    self.compressed.resize(length, 0);
                }
                let compressed = &mut self.compressed[..length];
                if !key.open_into(nonce, &aad, sealed, compressed) {
                    return Err("its bytes are not what was written");
                }
                self.decompressor
                    .decompress_to_buffer(compressed, plain)
                    .map_err(|_| "it does not decompress")?
            }
        };
        if length != plain.len() {
            return Err("its length is not what the index says");
        }
        if self.keys.blob_id_of_byte(entry.kind, plain) != entry.id {
            return Err("its content does not have its id");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Segment;
    use crate::crypto::{Encryption, RepositoryKeys, Secret};
    use crate::id::{BlobKind, Id};
    use crate::names::{ContainerId, DomainId, Place};

    const CONTAINER: ContainerRef = ContainerRef { place: Place::Pack, id: ContainerId([5; 32]) };

    fn keys() -> DomainKeys {
        let keys = RepositoryKeys::new(Secret::new([1; 32]));
        keys.domain(DomainId([2; 16]), [3; 16], Encryption::default())
    }

    /// Seals `plain` as the blob `id`, whatever that says.
    fn sealed(keys: &DomainKeys, id: Id, plain: &[u8]) -> (Entry, Vec<u8>) {
        let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
        let (mut segment, mut entries) = (Segment::default(), Vec::new());
        segment.push(&mut compressor, BlobKind::Data.byte(), id, plain).unwrap();
        let key = keys.container_key(CONTAINER.id).unwrap();
        let bytes = segment.seal(keys, &key, 64, &mut entries).unwrap().to_vec();
        (entries[0], bytes)
    }

    fn open(
        keys: &DomainKeys,
        entry: &Entry,
        bytes: &[u8],
    ) -> std::result::Result<Vec<u8>, String> {
        let mut opener = BlobOpener::new(keys).unwrap();
        let mut plain = b"from before".to_vec();
        let opened = opener.open(CONTAINER, entry, bytes, &mut plain);
        assert!(opened.is_ok() || plain.is_empty(), "unproven bytes were handed on");
        let mut place = vec![9; entry.plain_bytes as usize];
        match opener.open_into(CONTAINER, entry, bytes, &mut place) {
            Ok(()) => assert_eq!(place, plain),
            Err(_) => assert!(opened.is_err() && place.iter().all(|&byte| byte == 0)),
        }
        opened.map(|()| plain).map_err(|error| error.to_string())
    }

    #[test]
    fn well_sealed_content_under_another_id_is_refused() {
        let keys = keys();
        for plain in [&b"short"[..], &[7; 4096]] {
            let id = keys.blob_id(BlobKind::Data, plain);
            let (entry, bytes) = sealed(&keys, id, plain);
            assert_eq!(open(&keys, &entry, &bytes).unwrap(), plain);
            let (entry, bytes) = sealed(&keys, Id([9; 32]), plain);
            let error = open(&keys, &entry, &bytes).unwrap_err();
            assert!(error.contains("does not have its id"), "{error}");
        }
    }

    #[test]
    fn a_length_other_than_the_index_says_is_refused() {
        let keys = keys();
        let id = keys.blob_id(BlobKind::Data, &[7; 4096]);
        let (entry, bytes) = sealed(&keys, id, &[7; 4096]);
        for plain_bytes in [4095, 4097, 8 << 20] {
            let error = open(&keys, &Entry { plain_bytes, ..entry }, &bytes).unwrap_err();
            assert!(error.contains("length") || error.contains("decompress"), "{error}");
        }
        assert!(open(&keys, &entry, &bytes[..bytes.len() - 1]).unwrap_err().contains("cut off"));
        for length in [4095, 4097] {
            let mut opener = BlobOpener::new(&keys).unwrap();
            let error = opener.open_into(CONTAINER, &entry, &bytes, &mut vec![9; length]);
            assert!(error.unwrap_err().to_string().contains("length"));
        }
    }
}
