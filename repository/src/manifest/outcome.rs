//! The sealed object at the end of a session: its manifest, or the fence that took its place.

use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::names::BackupLocation;
use crate::sealed::{self, SealedKind, sealed_bytes_max};

use super::Manifest;

const MANIFEST_BYTES_MAX: usize = 1 << 20;
/// Longest outcome object.
pub(crate) const OUTCOME_BYTES_MAX: u64 = sealed_bytes_max(MANIFEST_BYTES_MAX);

/// How a session ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Backup(Box<Manifest>),
    Fenced,
}

/// The bytes of the object that commits a backup.
pub(crate) fn seal(keys: &DomainKeys, manifest: &Manifest) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(manifest).map_err(|_| Error::Internal("writing a manifest"))?;
    if json.len() > MANIFEST_BYTES_MAX {
        return Err(Error::InvalidInput(format!(
            "the description of the backup (labels and names) is longer than {MANIFEST_BYTES_MAX} \
             bytes"
        )));
    }
    sealed::seal(keys, &manifest.location().outcome(), SealedKind::Manifest, json)
}

/// What keeps the session at `location` from committing.
pub(crate) fn seal_fence(keys: &DomainKeys, location: &BackupLocation) -> Result<Vec<u8>> {
    sealed::seal(keys, &location.outcome(), SealedKind::Fence, Vec::new())
}

/// What the object at `location` says.
pub(crate) fn open(keys: &DomainKeys, location: BackupLocation, bytes: &[u8]) -> Result<Outcome> {
    let key = location.outcome();
    match sealed::open(keys, &key, bytes)? {
        (SealedKind::Manifest, plain) => {
            Ok(Outcome::Backup(Box::new(Manifest::parse(&plain, location)?)))
        }
        (SealedKind::Fence, _) => Ok(Outcome::Fenced),
        _ => Err(Error::damaged(&key, "it is not of the kind that belongs there")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Encryption, RepositoryKeys, Secret};
    use crate::names::{DomainId, SessionId, VolumeId};

    #[test]
    fn a_fence_is_no_backup() {
        let keys = RepositoryKeys::new(Secret::new([1; 32]));
        let keys = keys.domain(DomainId([2; 16]), [3; 16], Encryption::default());
        let (volume, session) = (VolumeId([4; 16]), SessionId([5; 16]));
        let location = BackupLocation { domain: DomainId([2; 16]), volume, session };
        let bytes = seal_fence(&keys, &location).unwrap();
        assert!(matches!(open(&keys, location, &bytes), Ok(Outcome::Fenced)));
    }
}
