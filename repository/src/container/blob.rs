//! Opening a blob: unseal, decompress to the exact length, compute the id again.

use crate::crypto::{DomainKeys, SealKey};
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
        let opened = self.try_open(container, entry, sealed, plain);
        opened.map_err(|reason| {
            plain.clear();
            let range = u64::from(entry.offset)..entry.end();
            Error::damaged_at(&container.key(self.keys.id()), range, reason)
        })
    }

    fn try_open(
        &mut self,
        container: ContainerRef,
        entry: &Entry,
        sealed: &[u8],
        plain: &mut Vec<u8>,
    ) -> std::result::Result<(), &'static str> {
        if self.last_key.as_ref().is_none_or(|(id, _)| *id != container.id) {
            let key = self.keys.container_key(container.id).map_err(|_| "no key can be made")?;
            self.last_key = Some((container.id, key));
        }
        let Some((_, key)) = &self.last_key else { return Err("no key can be made") };
        if sealed.len() != entry.stored_bytes as usize {
            return Err("it is cut off");
        }
        let aad = blob_aad(self.keys.repository(), entry.kind, &entry.id);
        let nonce = u64::from(entry.offset);
        match entry.compression {
            Compression::None => {
                if !key.open(nonce, &aad, sealed, plain) {
                    return Err("its bytes are not what was written");
                }
            }
            Compression::Zstd => {
                if !key.open(nonce, &aad, sealed, &mut self.compressed) {
                    return Err("its bytes are not what was written");
                }
                plain.resize(entry.plain_bytes as usize, 0);
                let length = self
                    .decompressor
                    .decompress_to_buffer(&self.compressed, plain.as_mut_slice())
                    .map_err(|_| "it does not decompress")?;
                plain.truncate(length);
            }
        }
        if plain.len() != entry.plain_bytes as usize {
            return Err("its length is not what the index says");
        }
        if self.keys.blob_id_of_byte(entry.kind, plain) != entry.id {
            return Err("its content does not have its id");
        }
        Ok(())
    }
}
