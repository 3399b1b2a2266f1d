//! Single blocks, found.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::block_ids;
use super::{MemoryBlobs, of_every_height, places_above, sparse};
use crate::error::Error;

proptest! {
    #[test]
    fn blocks_are_found_wherever_they_are(
        image in sparse(),
        picks in proptest::collection::vec(any::<u64>(), 0..20),
    ) {
        let blobs = MemoryBlobs::default();
        let root = image.store(&blobs);
        let held: BTreeSet<u64> = image.blocks.keys().copied().step_by(3).collect();
        let picked = picks.into_iter().filter_map(|pick| pick.checked_rem(image.blocks()));
        let blocks: Vec<u64> = held.into_iter().chain(picked).collect::<BTreeSet<_>>().into_iter().collect();
        let expected: Vec<_> = blocks.iter().map(|&block| image.id(block)).collect();
        prop_assert_eq!(block_ids(&blobs, root, &blocks).unwrap(), expected);
    }
}

#[test]
fn only_the_nodes_above_are_read() {
    for image in of_every_height() {
        let blobs = MemoryBlobs::default();
        let root = image.store(&blobs);
        blobs.take_read();
        let last = image.blocks() - 1;
        block_ids(&blobs, root, &[last]).unwrap();
        let above = places_above(&[last].into(), root.depth());
        assert_eq!(blobs.take_read().len(), above.len(), "{last}");
    }
}

#[test]
fn blocks_that_are_not_there_or_do_not_ascend_are_refused() {
    for image in of_every_height() {
        let blobs = MemoryBlobs::default();
        let root = image.store(&blobs);
        for blocks in [vec![image.blocks()], vec![0, 0], vec![1, 0]] {
            let found = block_ids(&blobs, root, &blocks);
            assert!(matches!(found, Err(Error::InvalidInput(_))), "{blocks:?}");
        }
    }
}
