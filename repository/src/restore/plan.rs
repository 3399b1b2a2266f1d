//! From blocks to reads: few, large, in the order of the packs. Pure.

use crate::container::Entry;
use crate::crypto::TAG_BYTES;
use crate::id::Id;
use crate::names::ContainerRef;

/// A read is no longer than this, unless a single blob is.
const READ_BYTES_MAX: usize = 4 << 20;
/// Bytes between two blobs that are read along rather than asked for apart.
const GAP_BYTES_MAX: u64 = 64 << 10;

/// One range of one object, and the blobs in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackRead {
    pub(crate) container: ContainerRef,
    /// The object's key.
    pub object: String,
    /// Where the range begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// What lies in it, in order.
    pub blobs: Vec<PlannedBlob>,
}

/// A blob to be opened from a [`PackRead`], and the blocks of the image that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedBlob {
    /// Numbers of the image's blocks that hold this content, ascending, at least one.
    pub blocks: Vec<u64>,
    pub(crate) entry: Entry,
}

impl PackRead {
    /// The longest there is where image blocks have `block_bytes`, in bytes.
    pub const fn longest_bytes(block_bytes: usize) -> usize {
        let blob = block_bytes + TAG_BYTES;
        if blob > READ_BYTES_MAX { blob } else { READ_BYTES_MAX }
    }
}

impl PlannedBlob {
    /// Its name.
    pub fn id(&self) -> Id {
        self.entry.id
    }

    /// Length of its plaintext.
    pub fn plain_bytes(&self) -> u32 {
        self.entry.plain_bytes
    }
}

/// Joins blobs that lie near each other into reads.
pub(super) fn plan(
    mut blobs: Vec<(ContainerRef, PlannedBlob)>,
    key_of: impl Fn(ContainerRef) -> String,
) -> Vec<PackRead> {
    blobs.sort_unstable_by_key(|(container, blob)| (*container, blob.entry.offset));
    let mut reads: Vec<PackRead> = Vec::new();
    for (container, blob) in blobs {
        let start = u64::from(blob.entry.offset);
        let end = blob.entry.end();
        match reads.last_mut() {
            Some(read)
                if read.container == container
                    && start <= read.offset + read.length + GAP_BYTES_MAX
                    && read.length.max(end - read.offset) <= READ_BYTES_MAX as u64 =>
            {
                read.length = read.length.max(end - read.offset);
                read.blobs.push(blob);
            }
            _ => reads.push(PackRead {
                container,
                object: key_of(container),
                offset: start,
                length: end - start,
                blobs: vec![blob],
            }),
        }
    }
    reads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Compression;
    use crate::names::{ContainerId, Place};
    use proptest::prelude::*;

    fn blob(pack: u8, offset: u32, stored_bytes: u32) -> (ContainerRef, PlannedBlob) {
        let container = ContainerRef { place: Place::Pack, id: ContainerId([pack; 32]) };
        let (id, compression) = (Id([1; 32]), Compression::None);
        let plain_bytes = stored_bytes - 16;
        let entry = Entry { id, offset, stored_bytes, plain_bytes, kind: 1, compression };
        (container, PlannedBlob { blocks: vec![0], entry })
    }

    fn ranges(blobs: Vec<(ContainerRef, PlannedBlob)>) -> Vec<(String, u64, u64)> {
        let key = |container: ContainerRef| container.id.to_string()[..2].to_owned();
        plan(blobs, key).into_iter().map(|r| (r.object, r.offset, r.length)).collect()
    }

    #[test]
    fn neighbours_and_near_ones_are_read_together() {
        let near = 1000 + (64 << 10);
        let planned = ranges(vec![blob(1, near, 50), blob(1, 64, 936), blob(2, 64, 100)]);
        let joined = u64::from(near) - 64 + 50;
        assert_eq!(planned, [("01".into(), 64, joined), ("02".into(), 64, 100)]);
        let apart = ranges(vec![blob(1, near + 1, 50), blob(1, 64, 936)]);
        assert_eq!(apart.len(), 2);
    }

    #[test]
    fn a_read_ends_at_its_bound() {
        let mib = 1 << 20;
        let blobs = (0..6).map(|n| blob(1, 64 + n * mib, mib)).collect();
        let lengths: Vec<u64> = ranges(blobs).into_iter().map(|(_, _, length)| length).collect();
        assert_eq!(lengths, [4 << 20, 2 << 20]);
        assert_eq!(ranges(vec![blob(1, 64, 8 * mib + 16)])[0].2, (8 << 20) + 16);
    }

    proptest! {
        #[test]
        fn every_blob_lies_in_its_read(
            places in proptest::collection::vec((0u8..3, 64u32..20_000_000, 17u32..9_000_000), 0..50),
        ) {
            let blobs: Vec<_> = places.iter().map(|&(pack, at, len)| blob(pack, at, len)).collect();
            let reads = plan(blobs.clone(), |_| String::new());
            prop_assert_eq!(reads.iter().map(|read| read.blobs.len()).sum::<usize>(), blobs.len());
            for read in &reads {
                prop_assert!(read.length <= READ_BYTES_MAX as u64 || read.blobs.len() == 1);
                for blob in &read.blobs {
                    prop_assert!(u64::from(blob.entry.offset) >= read.offset);
                    prop_assert!(blob.entry.end() <= read.offset + read.length);
                    prop_assert!(blobs.contains(&(read.container, blob.clone())));
                }
            }
        }
    }
}
