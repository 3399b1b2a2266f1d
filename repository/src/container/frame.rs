//! The fixed parts of a container: header, trailer and the associated data of its seals.

use std::ops::Range;

use crate::crypto::{DomainKeys, SealKey, TAG_BYTES};
use crate::error::{Error, Result};
use crate::id::Id;
use crate::names::ContainerRef;

pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const TRAILER_BYTES: usize = 16;
/// Where the first blob of a container begins.
pub(crate) const FIRST_BLOB_AT: u32 = 64;

const VERSION: u32 = 1;
const HEADER_MAGIC: &[u8; 8] = b"thinpack";
const TRAILER_MAGIC: &[u8; 8] = b"kcapniht";
/// Stands where a blob has its kind.
const FOOTER_KIND: u8 = 0;

pub(crate) fn header(repository: [u8; 16], container: ContainerRef) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(HEADER_MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&u32::from(container.place.number()).to_le_bytes());
    bytes[16..32].copy_from_slice(&repository);
    bytes[32..].copy_from_slice(&container.id.0);
    bytes
}

/// Whether `bytes` are the header that this container must have.
pub(crate) fn check_header(
    object: &str,
    bytes: &[u8],
    repository: [u8; 16],
    container: ContainerRef,
) -> Result<()> {
    if bytes == header(repository, container) {
        return Ok(());
    }
    if let (Some(magic), Some(version)) = (bytes.get(..8), u32_at(bytes, 8))
        && magic == HEADER_MAGIC
        && version > VERSION
    {
        return Err(newer(object, version));
    }
    Err(Error::damaged_at(object, 0..HEADER_BYTES as u64, "its header is not what was written"))
}

fn trailer(footer_bytes: u32) -> [u8; TRAILER_BYTES] {
    let mut bytes = [0; TRAILER_BYTES];
    bytes[..4].copy_from_slice(&footer_bytes.to_le_bytes());
    bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
    bytes[8..].copy_from_slice(TRAILER_MAGIC);
    bytes
}

/// Where the sealed footer lies in an object of `size` bytes that ends in `bytes`. The range is
/// inside the object and behind the header, and no longer than a run can be.
pub(crate) fn parse_trailer(
    object: &str,
    size: u64,
    bytes: &[u8; TRAILER_BYTES],
) -> Result<Range<u64>> {
    let end = size.saturating_sub(TRAILER_BYTES as u64);
    let damaged = |reason: &str| Error::damaged_at(object, end..size, reason);
    let version = u32_at(bytes, 4).unwrap_or_default();
    if &bytes[8..] != TRAILER_MAGIC {
        return Err(damaged("it does not end as a pack does: it was cut off or changed"));
    }
    if version > VERSION {
        return Err(newer(object, version));
    }
    if version != VERSION {
        return Err(damaged("there is no such version of a pack"));
    }
    let length = u64::from(u32_at(bytes, 0).unwrap_or_default());
    let longest = (super::run::RUN_BYTES_MAX + TAG_BYTES) as u64;
    let start = end.checked_sub(length).filter(|&start| start >= HEADER_BYTES as u64);
    match start {
        Some(start) if length > TAG_BYTES as u64 && length <= longest => Ok(start..end),
        _ => Err(damaged("its footer cannot be of that length")),
    }
}

/// Footer and trailer of a container whose blobs end at `offset`.
pub(crate) fn seal_footer(
    keys: &DomainKeys,
    key: &SealKey,
    container: ContainerRef,
    offset: u64,
    mut run: Vec<u8>,
) -> Result<Vec<u8>> {
    let length = u32::try_from(run.len() + TAG_BYTES)
        .map_err(|_| Error::Internal("bounding the index of a pack"))?;
    let trailer = trailer(length);
    let tag = key.seal(offset, &footer_aad(keys.repository(), container, &trailer), &mut run)?;
    run.extend(tag);
    run.extend(trailer);
    Ok(run)
}

pub(super) fn footer_aad(
    repository: [u8; 16],
    container: ContainerRef,
    trailer: &[u8; TRAILER_BYTES],
) -> Vec<u8> {
    [&repository[..], &[FOOTER_KIND], &header(repository, container), trailer].concat()
}

/// What a blob's seal is bound to, beside its container's key and its offset.
pub(super) fn blob_aad(repository: [u8; 16], kind: u8, id: &Id) -> [u8; 49] {
    let mut aad = [0; 49];
    aad[..16].copy_from_slice(&repository);
    aad[16] = kind;
    aad[17..].copy_from_slice(&id.0);
    aad
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn newer(object: &str, version: u32) -> Error {
    Error::NewerFormat { object: object.to_owned(), found: version.to_string(), supported: VERSION }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{ContainerId, Place};
    use proptest::prelude::*;

    const CONTAINER: ContainerRef = ContainerRef { place: Place::Pack, id: ContainerId([5; 32]) };

    #[test]
    fn a_newer_container_is_named_as_such() {
        let mut bytes = header([1; 16], CONTAINER);
        assert!(check_header("p", &bytes, [1; 16], CONTAINER).is_ok());
        bytes[8] = 2;
        let error = check_header("p", &bytes, [1; 16], CONTAINER).unwrap_err();
        assert!(matches!(error, Error::NewerFormat { .. }));
        let mut end = trailer(100);
        end[4] = 2;
        let error = parse_trailer("p", 1000, &end).unwrap_err();
        assert!(matches!(error, Error::NewerFormat { .. }));
        end[4] = 0;
        let error = parse_trailer("p", 1000, &end).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }));
    }

    #[test]
    fn a_footer_lies_between_header_and_trailer() {
        assert_eq!(parse_trailer("p", 1000, &trailer(100)).unwrap(), 884..984);
        assert_eq!(parse_trailer("p", 180, &trailer(100)).unwrap(), 64..164);
        for (size, length) in [(179, 100), (16, 0), (1000, 16), (1 << 40, u32::MAX), (0, 5)] {
            assert!(parse_trailer("p", size, &trailer(length)).is_err(), "{size} {length}");
        }
    }

    proptest! {
        #[test]
        fn any_trailer_gives_a_bounded_range_or_an_error(bytes: [u8; 16], length: u32, size: u64) {
            let _ = parse_trailer("p", size, &bytes);
            if let Ok(range) = parse_trailer("p", size, &trailer(length)) {
                prop_assert!(range.start >= 64 && range.end + 16 == size);
                prop_assert!(range.end - range.start <= 16 << 20);
            }
        }

        #[test]
        fn any_header_is_checked(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(check_header("p", &bytes, [1; 16], CONTAINER).is_err());
        }
    }
}
