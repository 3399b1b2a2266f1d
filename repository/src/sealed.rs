//! Small sealed objects: how a session ended, who holds a session, what collection has condemned
//! (FORMAT.md, section 11).

use crate::crypto::{DomainKeys, TAG_BYTES, random};
use crate::error::{Error, Result};

const HEADER_BYTES: usize = 48;
const MAGIC: &[u8; 8] = b"thinseal";
const VERSION: u32 = 1;

/// What a sealed object is. Each stands below a prefix of its own, save that a fence stands where a
/// manifest would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealedKind {
    /// A backup.
    Manifest,
    /// What keeps a session from committing.
    Fence,
    /// Who uploads or reads.
    Mark,
    /// What collection has condemned, and its index.
    Generation,
    /// Why a backup is not to be deleted.
    Hold,
    /// Manifests of several backups.
    Digest,
    /// That a session sends nothing more, save for what it names.
    Ack,
    /// A blob in a host's cache; in no store.
    Kept,
}

impl SealedKind {
    fn number(self) -> u32 {
        match self {
            Self::Manifest => 1,
            Self::Fence => 2,
            Self::Mark => 3,
            Self::Generation => 4,
            Self::Hold => 5,
            Self::Digest => 6,
            Self::Ack => 7,
            Self::Kept => 255,
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        [
            Self::Manifest,
            Self::Fence,
            Self::Mark,
            Self::Generation,
            Self::Hold,
            Self::Digest,
            Self::Ack,
            Self::Kept,
        ]
        .into_iter()
        .find(|kind| kind.number() == number)
    }
}

/// The longest object whose plaintext has at most `plain_bytes`.
pub(crate) const fn sealed_bytes_max(plain_bytes: usize) -> u64 {
    (HEADER_BYTES + plain_bytes + TAG_BYTES) as u64
}

/// The object to put at `key`.
pub(crate) fn seal(
    keys: &DomainKeys,
    key: &str,
    kind: SealedKind,
    plain: Vec<u8>,
) -> Result<Vec<u8>> {
    let salt: [u8; 32] = random()?;
    let header = [&MAGIC[..], &VERSION.to_le_bytes(), &kind.number().to_le_bytes(), &salt].concat();
    let mut sealed = plain;
    let tag = keys.sealed_key(&salt)?.seal(0, &aad(keys, &header, key), &mut sealed)?;
    Ok([&header[..], &sealed, &tag].concat())
}

/// What the object at `key` is, and its plaintext.
pub(crate) fn open(keys: &DomainKeys, key: &str, bytes: &[u8]) -> Result<(SealedKind, Vec<u8>)> {
    let cut_off = || Error::damaged(key, "it is cut off");
    let (header, sealed) = bytes.split_at_checked(HEADER_BYTES).ok_or_else(cut_off)?;
    let number = |at: usize| header[at..at + 4].try_into().map(u32::from_le_bytes);
    let (Ok(version), Ok(kind)) = (number(8), number(12)) else { return Err(cut_off()) };
    if &header[..8] != MAGIC {
        return Err(Error::damaged(key, "it does not begin as a sealed object does"));
    }
    if version > VERSION {
        let found = version.to_string();
        return Err(Error::NewerFormat { object: key.to_owned(), found, supported: VERSION });
    }
    let salt = header.last_chunk::<32>().ok_or_else(cut_off)?;
    let mut plain = Vec::new();
    if !keys.sealed_key(salt)?.open(0, &aad(keys, header, key), sealed, &mut plain) {
        return Err(Error::damaged(key, "its bytes are not what was written"));
    }
    match SealedKind::from_number(kind) {
        Some(kind) => Ok((kind, plain)),
        None => Err(Error::damaged(key, "it is of no known kind")),
    }
}

/// As [`open`], for an object that can only be of one kind.
pub(crate) fn open_kind(
    keys: &DomainKeys,
    key: &str,
    kind: SealedKind,
    bytes: &[u8],
) -> Result<Vec<u8>> {
    let (found, plain) = open(keys, key, bytes)?;
    if found != kind {
        return Err(Error::damaged(key, "it is not of the kind that belongs there"));
    }
    Ok(plain)
}

fn aad(keys: &DomainKeys, header: &[u8], key: &str) -> Vec<u8> {
    [&keys.repository()[..], header, key.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Encryption, RepositoryKeys, Secret};
    use crate::names::DomainId;
    use proptest::prelude::*;

    fn keys() -> DomainKeys {
        let keys = RepositoryKeys::new(Secret::new([1; 32]));
        keys.domain(DomainId([2; 16]), [3; 16], Encryption::default())
    }

    #[test]
    fn it_opens_only_where_it_was_put_and_as_what_it_is() {
        let bytes = seal(&keys(), "a/b", SealedKind::Fence, b"plain".to_vec()).unwrap();
        let opened = open(&keys(), "a/b", &bytes).unwrap();
        assert_eq!(opened, (SealedKind::Fence, b"plain".to_vec()));
        assert!(matches!(open(&keys(), "a/c", &bytes), Err(Error::Damaged { .. })));
        assert!(open_kind(&keys(), "a/b", SealedKind::Mark, &bytes).is_err());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(open(&keys(), "a/b", &changed).is_err(), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_open_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(open(&keys(), "a/b", &bytes).is_err());
            let begun = [&MAGIC[..], &VERSION.to_le_bytes(), &bytes].concat();
            prop_assert!(open(&keys(), "a/b", &begun).is_err());
        }
    }
}
