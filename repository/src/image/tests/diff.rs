//! A comparison finds what differs, and reads nothing else.

use proptest::prelude::*;

use super::{BLOCK_BYTES, MemoryBlobs, Sparse, nodes, of_every_height, runs, sparse, total_bytes};
use crate::id::Id;
use crate::image::{ChangedBlock, ImageDiff, ImageRoot};

fn diff<'i>(blobs: &'i MemoryBlobs, before: ImageRoot, after: ImageRoot) -> ImageDiff<'i> {
    ImageDiff::new((blobs, before), (blobs, after)).unwrap()
}

fn compare(before: &Sparse, after: &Sparse) -> Vec<ChangedBlock> {
    let mut numbers: Vec<u64> = before.blocks.keys().chain(after.blocks.keys()).copied().collect();
    numbers.sort_unstable();
    numbers.dedup();
    let pair = |block| ChangedBlock { block, before: before.id(block), after: after.id(block) };
    numbers.into_iter().map(pair).filter(|pair| pair.before != pair.after).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn exactly_the_blocks_that_differ_are_found(
        before in sparse(),
        resized in proptest::option::of(total_bytes()),
        changes in runs(0..4, 8),
        window in 0usize..300,
    ) {
        let blobs = MemoryBlobs::default();
        let mut after = before.clone();
        after.resize(resized.unwrap_or(before.total_bytes));
        after.change(&changes);
        let [first, second] = [&before, &after].map(|image| image.store(&blobs));
        let [first_nodes, second_nodes] = [first, second].map(|root| nodes(&blobs, root));
        blobs.take_read();
        let mut found = Vec::new();
        let mut diff = diff(&blobs, first, second);
        while let Some(changes) = diff.next_window(window).unwrap() {
            prop_assert!((1..=window.max(1)).contains(&changes.len()));
            found.extend(changes);
        }
        prop_assert!(diff.next_window(window).unwrap().is_none());
        prop_assert_eq!(found, compare(&before, &after));

        // Read: exactly the nodes that are not the same in both.
        let mut read = blobs.take_read();
        read.sort_unstable();
        let only = |(place, id): (&_, &Id), other: &std::collections::BTreeMap<_, Id>| {
            (other.get(place) != Some(id)).then_some(*id)
        };
        let mut expected: Vec<Id> = first_nodes
            .iter()
            .filter_map(|node| only(node, &second_nodes))
            .chain(second_nodes.iter().filter_map(|node| only(node, &first_nodes)))
            .collect();
        expected.sort_unstable();
        prop_assert_eq!(read, expected);
    }
}

#[test]
fn trees_of_any_two_heights_are_compared_to_the_end() {
    for before in of_every_height() {
        for after in of_every_height() {
            let blobs = MemoryBlobs::default();
            let [first, second] = [&before, &after].map(|image| image.store(&blobs));
            let found = diff(&blobs, first, second).next_window(10).unwrap();
            assert_eq!(found.unwrap_or_default(), compare(&before, &after));
        }
    }
}

#[test]
fn a_node_that_cannot_be_read_ends_the_comparison_and_images_in_other_blocks_do_not_begin_one() {
    let blobs = MemoryBlobs::default();
    let blocks = (0..300).map(|block| (block, super::block_id(block, 1))).collect();
    let before = Sparse { total_bytes: 300 * BLOCK_BYTES, blocks };
    let mut after = before.clone();
    after.blocks.remove(&290);
    let [before, after] = [before, after].map(|image| image.store(&blobs));
    let other = ImageRoot::new(before.id(), before.total_bytes(), 128 << 10).unwrap();
    assert!(ImageDiff::new((&blobs, before), (&blobs, other)).is_err());
    blobs.remove(&nodes(&blobs, after)[&(0, 256)]);
    assert!(diff(&blobs, before, after).next_window(10).is_err());
}
