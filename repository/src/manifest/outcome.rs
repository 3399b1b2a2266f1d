//! The sealed object at the end of a session: its manifest, or the fence that took its place.

use crate::crypto::{DomainKeys, TAG_BYTES, random};
use crate::error::{Error, Result};
use crate::names::BackupLocation;

use super::Manifest;

const HEADER_BYTES: usize = 48;
const MANIFEST_BYTES_MAX: usize = 1 << 20;
/// Longest outcome object.
pub(crate) const OUTCOME_BYTES_MAX: u64 = (HEADER_BYTES + MANIFEST_BYTES_MAX + TAG_BYTES) as u64;

const MAGIC: &[u8; 8] = b"thinoutc";
const VERSION: u32 = 1;
const KIND_MANIFEST: u32 = 1;
const KIND_FENCE: u32 = 2;

/// How a session ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Backup(Box<Manifest>),
    Fenced,
}

/// The bytes of the object that commits a backup.
pub(crate) fn seal(keys: &DomainKeys, manifest: &Manifest) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(manifest).map_err(|_| Error::Internal("writing a manifest"))?;
    seal_kind(keys, &manifest.location(), KIND_MANIFEST, &json)
}

fn seal_kind(
    keys: &DomainKeys,
    location: &BackupLocation,
    kind: u32,
    plain: &[u8],
) -> Result<Vec<u8>> {
    if plain.len() > MANIFEST_BYTES_MAX {
        return Err(Error::InvalidInput(format!(
            "the description of the backup (labels and names) is longer than {MANIFEST_BYTES_MAX} \
             bytes"
        )));
    }
    let salt: [u8; 32] = random()?;
    let header = [&MAGIC[..], &VERSION.to_le_bytes(), &kind.to_le_bytes(), &salt].concat();
    let mut sealed = plain.to_vec();
    let tag =
        keys.outcome_key(&salt)?.seal(0, &aad(keys, &header, &location.outcome()), &mut sealed)?;
    Ok([&header[..], &sealed, &tag].concat())
}

/// What the object at `location` says.
pub(crate) fn open(keys: &DomainKeys, location: BackupLocation, bytes: &[u8]) -> Result<Outcome> {
    let key = location.outcome();
    let cut_off = || Error::damaged(&key, "it is cut off");
    let (header, sealed) = bytes.split_at_checked(HEADER_BYTES).ok_or_else(cut_off)?;
    let number = |at: usize| header[at..at + 4].try_into().map(u32::from_le_bytes);
    let (Ok(version), Ok(kind)) = (number(8), number(12)) else { return Err(cut_off()) };
    if &header[..8] != MAGIC {
        return Err(Error::damaged(&key, "it does not begin as an outcome does"));
    }
    if version > VERSION {
        let found = version.to_string();
        return Err(Error::NewerFormat { object: key, found, supported: VERSION });
    }
    let salt = header.last_chunk::<32>().ok_or_else(cut_off)?;
    let mut plain = Vec::new();
    if !keys.outcome_key(salt)?.open(0, &aad(keys, header, &key), sealed, &mut plain) {
        return Err(Error::damaged(&key, "its bytes are not what was written"));
    }
    match kind {
        KIND_MANIFEST => Ok(Outcome::Backup(Box::new(Manifest::parse(&plain, location)?))),
        KIND_FENCE => Ok(Outcome::Fenced),
        _ => Err(Error::damaged(&key, "it is of no known kind")),
    }
}

fn aad(keys: &DomainKeys, header: &[u8], key: &str) -> Vec<u8> {
    [&keys.repository()[..], header, key.as_bytes()].concat()
}

/// What collection will put where a writer's outcome would go.
#[cfg(test)]
pub(crate) fn seal_fence(keys: &DomainKeys, location: &BackupLocation) -> Result<Vec<u8>> {
    seal_kind(keys, location, KIND_FENCE, &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Encryption, RepositoryKeys, Secret};
    use crate::names::{DomainId, SessionId, VolumeId};
    use proptest::prelude::*;

    fn keys() -> DomainKeys {
        let keys = RepositoryKeys::new(Secret::new([1; 32]));
        keys.domain(DomainId([2; 16]), [3; 16], Encryption::default())
    }

    fn location() -> BackupLocation {
        let (volume, session) = (VolumeId([4; 16]), SessionId([5; 16]));
        BackupLocation { domain: DomainId([2; 16]), volume, session }
    }

    #[test]
    fn a_fence_is_no_backup_and_opens_only_in_its_place() {
        let bytes = seal_fence(&keys(), &location()).unwrap();
        assert!(matches!(open(&keys(), location(), &bytes), Ok(Outcome::Fenced)));
        let elsewhere = BackupLocation { session: SessionId([6; 16]), ..location() };
        assert!(matches!(open(&keys(), elsewhere, &bytes), Err(Error::Damaged { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_open_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(open(&keys(), location(), &bytes).is_err());
            let begun = [&MAGIC[..], &VERSION.to_le_bytes(), &bytes].concat();
            prop_assert!(open(&keys(), location(), &begun).is_err());
        }
    }
}
