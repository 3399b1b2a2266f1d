//! Digests: the manifests of a volume's backups together in one object, so that a listing need not ask for
//! each (FORMAT.md, section 12). What a digest says of a backup that is listed is true for ever, so any
//! number of them may stand side by side, and any may be missing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::keep;
use crate::listing;
use crate::manifest::Manifest;
use crate::names::{BackupLocation, DigestLocation, SessionId, VolumeId};
use crate::sealed::{self, SealedKind, sealed_bytes_max};
use crate::session::Ends;
use crate::store::Store;
use crate::upload::create;

/// Longest plaintext, once it is decompressed.
const PLAIN_BYTES_MAX: usize = 8 << 20;
const DIGEST_BYTES_MAX: u64 = sealed_bytes_max(LENGTH_BYTES + PLAIN_BYTES_MAX);
const LENGTH_BYTES: usize = 4;
/// So many backups that are in no digest are worth a new one.
const FRESH_MIN: usize = 16;

/// Manifests of live backups and of others.
pub(crate) type Digested = HashMap<SessionId, Manifest>;

/// What the listed digests say. One that is gone, or cannot be read, says nothing.
pub(crate) fn read_all<'d>(
    store: &dyn Store,
    keys: &DomainKeys,
    digests: impl IntoIterator<Item = &'d DigestLocation>,
) -> Result<Digested> {
    let mut digested = HashMap::new();
    for location in digests {
        let key = location.key();
        let read = keep::read_listed(store, &key, DIGEST_BYTES_MAX, |bytes| {
            let plain = sealed::open_kind(keys, &key, SealedKind::Digest, bytes)?;
            parse(&plain, *location).ok_or_else(|| Error::damaged(&key, "it is no digest"))
        });
        match read {
            Ok(read) => digested.extend(read.unwrap_or_default()),
            Err(error) if error.is_of_one_backup() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(digested)
}

fn parse(plain: &[u8], location: DigestLocation) -> Option<Digested> {
    let (length, frame) = plain.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if length > PLAIN_BYTES_MAX {
        return None;
    }
    let plain = zstd::bulk::decompress(frame, length).ok().filter(|plain| plain.len() == length)?;
    let mut digested = HashMap::new();
    let mut rest = &plain[..];
    while let Some((session, behind)) = rest.split_first_chunk::<16>() {
        let (length, behind) = behind.split_first_chunk::<LENGTH_BYTES>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (json, behind) = behind.split_at_checked(length)?;
        let session = SessionId(*session);
        let DigestLocation { domain, volume, .. } = location;
        // One of a newer version is read, and refused, where it stands itself.
        if let Ok(manifest) = Manifest::parse(json, BackupLocation { domain, volume, session }) {
            digested.insert(session, manifest);
        }
        rest = behind;
    }
    rest.is_empty().then_some(digested)
}

fn encode(manifests: &[(SessionId, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    for (session, json) in manifests {
        let length = u32::try_from(json.len()).map_err(|_| Error::Internal("writing a digest"))?;
        plain.extend(session.0);
        plain.extend(length.to_le_bytes());
        plain.extend(json);
    }
    let length = u32::try_from(plain.len()).map_err(|_| Error::Internal("writing a digest"))?;
    let frame = zstd::bulk::compress(&plain, 3).map_err(|_| Error::Internal("starting zstd"))?;
    Ok([&length.to_le_bytes()[..], &frame].concat())
}

/// Makes new digests of volumes that have many backups in none, and removes those that say little.
/// Returns how many were made.
pub(crate) fn refresh(
    store: &dyn Store,
    keys: &DomainKeys,
    go_on: &mut dyn FnMut() -> Result<()>,
) -> Result<u64> {
    let ends = Ends::list(store, keys.id())?;
    let mut volumes: BTreeMap<VolumeId, BTreeSet<BackupLocation>> = BTreeMap::new();
    for member in ends.outcomes.difference(&ends.tombs) {
        volumes.entry(member.volume).or_default().insert(*member);
    }
    for digest in &ends.digests {
        volumes.entry(digest.volume).or_default();
    }
    let mut made = 0;
    for (volume, live) in volumes {
        go_on()?;
        let old: Vec<_> = ends.digests.iter().filter(|it| it.volume == volume).collect();
        made += refresh_volume(store, keys, volume, &live, &old)?;
    }
    Ok(made)
}

fn refresh_volume(
    store: &dyn Store,
    keys: &DomainKeys,
    volume: VolumeId,
    live: &BTreeSet<BackupLocation>,
    old: &[&DigestLocation],
) -> Result<u64> {
    let mut manifests = read_all(store, keys, old.iter().copied())?;
    let digested = manifests.len();
    let sessions: BTreeSet<SessionId> = live.iter().map(|member| member.session).collect();
    manifests.retain(|session, _| sessions.contains(session));
    let kept = manifests.len();
    let is_of_use = old.is_empty() || kept > 0 && digested <= 2 * kept;
    if is_of_use && live.len() - kept < FRESH_MIN {
        return Ok(0);
    }
    // Some may be no backups, or be unreadable.
    for member in live {
        if !manifests.contains_key(&member.session)
            && let Some(manifest) = readable(store, keys, *member)?
        {
            manifests.insert(member.session, manifest);
        }
    }
    if is_of_use && manifests.len() - kept < FRESH_MIN {
        return Ok(0);
    }
    let made = write(store, keys, volume, &manifests)?;
    for digest in old {
        match store.delete(&digest.key()) {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => {}
        }
    }
    Ok(made)
}

fn readable(
    store: &dyn Store,
    keys: &DomainKeys,
    backup: BackupLocation,
) -> Result<Option<Manifest>> {
    match listing::read_listed(store, keys, backup) {
        Err(error) if error.is_of_one_backup() => Ok(None),
        read => read,
    }
}

/// Digests of all these backups, each as long as it may be. Returns how many.
fn write(
    store: &dyn Store,
    keys: &DomainKeys,
    volume: VolumeId,
    manifests: &Digested,
) -> Result<u64> {
    let mut digests: Vec<Vec<(SessionId, Vec<u8>)>> = Vec::new();
    let mut left = 0;
    for (session, manifest) in manifests {
        let json = serde_json::to_vec(manifest).map_err(|_| Error::Internal("writing a digest"))?;
        let length = json.len() + 16 + LENGTH_BYTES;
        if length > left {
            digests.push(Vec::new());
            left = PLAIN_BYTES_MAX;
        }
        left = left.saturating_sub(length);
        if let Some(digest) = digests.last_mut() {
            digest.push((*session, json));
        }
    }
    for digest in &digests {
        let location = DigestLocation::random(keys.id(), volume)?;
        let sealed = sealed::seal(keys, &location.key(), SealedKind::Digest, encode(digest)?)?;
        create(store, "digest", &location.key(), &sealed)?;
    }
    Ok(digests.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{DigestId, DomainId};
    use proptest::prelude::*;

    fn location() -> DigestLocation {
        let (domain, volume) = (DomainId([1; 16]), VolumeId([2; 16]));
        DigestLocation { domain, volume, id: DigestId([3; 16]) }
    }

    #[test]
    fn what_it_does_not_understand_is_left_out() {
        let session = SessionId([7; 16]);
        let newer = br#"{"version":99}"#.to_vec();
        let plain = encode(&[(session, newer)]).unwrap();
        assert_eq!(parse(&plain, location()).unwrap().len(), 0);
        assert_eq!(parse(&encode(&[]).unwrap(), location()).unwrap().len(), 0);
        for end in 0..plain.len() {
            assert!(parse(&plain[..end], location()).is_none(), "{end}");
        }
        let huge = [&u32::MAX.to_le_bytes()[..], &plain[4..]].concat();
        assert!(parse(&huge, location()).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_digest_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, location());
            let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
            let framed = [&length[..], &zstd::bulk::compress(&bytes, 1).unwrap()].concat();
            let _ = parse(&framed, location());
        }
    }
}
