//! The tree of keys below the master key.

use std::fmt;

use super::{Encryption, SealKey, Secret};
use crate::error::Result;
use crate::id::{BlobKind, Id};
use crate::names::{ContainerId, DomainId, VolumeId};

const CONFIG: &str = "thinmover repository v1: config authentication";
const NAMES: &str = "thinmover repository v1: domain names";
const DOMAIN: &str = "thinmover repository v1: domain";
const IDS: &str = "thinmover repository v1: ids";
const VOLUMES: &str = "thinmover repository v1: volume names";
const CONTAINER: &str = "thinmover repository v1: container";
const SEALED: &str = "thinmover repository v1: sealed object";

/// What the master key gives: the repository's own keys and those of every domain.
pub(crate) struct RepositoryKeys {
    master: Secret,
    config: Secret,
    names: Secret,
}

impl RepositoryKeys {
    pub(crate) fn new(master: Secret) -> Self {
        let config = derive(CONFIG, &[master.as_slice()]);
        let names = derive(NAMES, &[master.as_slice()]);
        Self { master, config, names }
    }

    pub(crate) fn master(&self) -> &Secret {
        &self.master
    }

    /// The code that proves the first line of `config`.
    pub(crate) fn config_code(&self, line: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.config, line)
    }

    pub(crate) fn domain_id(&self, name: &str) -> DomainId {
        DomainId(first_half(&blake3::keyed_hash(&self.names, name.as_bytes())))
    }

    pub(crate) fn domain(
        &self,
        id: DomainId,
        repository: [u8; 16],
        encryption: Encryption,
    ) -> DomainKeys {
        let domain = derive(DOMAIN, &[self.master.as_slice(), &id.0]);
        let ids = derive(IDS, &[domain.as_slice()]);
        let volumes = derive(VOLUMES, &[domain.as_slice()]);
        DomainKeys { id, repository, encryption, domain, ids, volumes }
    }
}

impl fmt::Debug for RepositoryKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RepositoryKeys")
    }
}

/// All that concerns one domain, and nothing of another.
pub(crate) struct DomainKeys {
    id: DomainId,
    repository: [u8; 16],
    encryption: Encryption,
    domain: Secret,
    ids: Secret,
    volumes: Secret,
}

impl DomainKeys {
    pub(crate) fn id(&self) -> DomainId {
        self.id
    }

    pub(crate) fn repository(&self) -> [u8; 16] {
        self.repository
    }

    pub(crate) fn volume_id(&self, identity: &str) -> VolumeId {
        VolumeId(first_half(&blake3::keyed_hash(&self.volumes, identity.as_bytes())))
    }

    pub(crate) fn blob_id(&self, kind: BlobKind, plaintext: &[u8]) -> Id {
        self.blob_id_of_byte(kind.byte(), plaintext)
    }

    /// The same for a kind this version need not know.
    pub(crate) fn blob_id_of_byte(&self, kind: u8, plaintext: &[u8]) -> Id {
        let mut hasher = blake3::Hasher::new_keyed(&self.ids);
        hasher.update(&[kind]).update(plaintext);
        Id(*hasher.finalize().as_bytes())
    }

    pub(crate) fn container_key(&self, id: ContainerId) -> Result<SealKey> {
        SealKey::new(self.encryption, &derive(CONTAINER, &[self.domain.as_slice(), &id.0]))
    }

    pub(crate) fn sealed_key(&self, salt: &[u8; 32]) -> Result<SealKey> {
        SealKey::new(self.encryption, &derive(SEALED, &[self.domain.as_slice(), salt]))
    }
}

impl fmt::Debug for DomainKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainKeys").field("id", &self.id).finish_non_exhaustive()
    }
}

fn derive(context: &str, material: &[&[u8]]) -> Secret {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in material {
        hasher.update(part);
    }
    Secret::new(*hasher.finalize().as_bytes())
}

fn first_half(hash: &blake3::Hash) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_bytes()[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_share_neither_ids_nor_names() {
        let keys = RepositoryKeys::new(Secret::new([7; 32]));
        let domain = |name| keys.domain(keys.domain_id(name), [0; 16], Encryption::Aes256Gcm);
        let (a, b) = (domain("a"), domain("b"));
        assert_ne!(a.id(), b.id());
        assert_ne!(a.volume_id("v"), b.volume_id("v"));
        assert_ne!(a.blob_id(BlobKind::Data, b"x"), b.blob_id(BlobKind::Data, b"x"));
    }

    #[test]
    fn the_same_bytes_have_another_id_as_another_kind() {
        let keys = RepositoryKeys::new(Secret::new([7; 32]));
        let domain = keys.domain(DomainId([1; 16]), [0; 16], Encryption::Aes256Gcm);
        assert_ne!(domain.blob_id(BlobKind::Data, b"x"), domain.blob_id(BlobKind::ImageNode, b"x"));
    }
}
