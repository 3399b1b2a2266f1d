//! An image made from a base is the one made in full, at the price of what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use proptest::prelude::*;

use super::{
    BLOCK_BYTES, MemoryBlobs, Run, Sparse, block_id, nodes, of_every_height, places_above, runs,
    sparse, total_bytes,
};
use crate::error::Error;
use crate::id::Id;
use crate::image::{BasedImage, ImageRoot};

fn based<'u>(blobs: &'u MemoryBlobs, base: ImageRoot, total_bytes: u64) -> BasedImage<'u> {
    BasedImage::new(blobs, base, "base".to_owned(), blobs, total_bytes).unwrap()
}

/// What a caller gives: ascending pieces that do not overlap.
fn pieces(image: &Sparse, runs: &[Run], required: Option<u64>) -> Vec<Range<u64>> {
    let mut blocks: BTreeSet<u64> =
        runs.iter().flat_map(|run| run.blocks(image.blocks())).collect();
    blocks.extend(required);
    let mut pieces: Vec<Range<u64>> = Vec::new();
    for block in blocks {
        match pieces.last_mut() {
            Some(last)
                if last.end == block
                    && image.id(block).is_hole()
                    && image.id(last.start).is_hole() =>
            {
                last.end = block + 1;
            }
            _ => pieces.push(block..block + 1),
        }
    }
    pieces
}

fn give(image: &mut BasedImage<'_>, wanted: &Sparse, piece: Range<u64>) -> crate::Result<()> {
    match wanted.id(piece.start) {
        id if id.is_hole() && piece.end - piece.start > 1 => image.set_holes(piece),
        id => image.set(piece.start, id),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn an_image_from_a_base_is_the_one_made_in_full(
        base in sparse(),
        resized in proptest::option::of(total_bytes()),
        changes in runs(0..4, 8),
    ) {
        let blobs = MemoryBlobs::default();
        let base_root = base.store(&blobs);
        let base_nodes = nodes(&blobs, base_root);
        let mut wanted = base.clone();
        wanted.resize(resized.unwrap_or(base.total_bytes));
        wanted.change(&changes);
        blobs.take_read();
        blobs.take_stored();

        let mut image = based(&blobs, base_root, wanted.total_bytes);
        let given = pieces(&wanted, &changes, image.required_block());
        for piece in given.clone() {
            give(&mut image, &wanted, piece).unwrap();
        }
        let root = image.finish().unwrap();
        let (read, mut stored) = (blobs.take_read(), blobs.take_stored());

        let in_full = MemoryBlobs::default();
        prop_assert_eq!(root, wanted.store(&in_full));
        let new_nodes = nodes(&in_full, root);

        // Read: each node once, and only those above something that was given, or above the cut.
        let mut ends: BTreeSet<u64> = given.iter().flat_map(|p| [p.start, p.end - 1, p.end]).collect();
        ends.insert(wanted.blocks());
        let mut above = places_above(&ends, base_root.depth());
        above.extend((0..base_root.depth()).map(|level| (level, 0)).filter(|_| base_root.depth() > root.depth()));
        let may_be_read: BTreeSet<Id> =
            base_nodes.iter().filter(|(place, _)| above.contains(place)).map(|(_, id)| *id).collect();
        let distinct: BTreeSet<Id> = read.iter().copied().collect();
        prop_assert_eq!(distinct.len(), read.len(), "a node was read twice");
        prop_assert!(distinct.is_subset(&may_be_read));

        // Stored: exactly the nodes that the base has not, each once.
        let base_ids: BTreeSet<Id> = base_nodes.into_values().collect();
        let expected: BTreeSet<Id> =
            new_nodes.into_values().filter(|id| !base_ids.contains(id)).collect();
        stored.sort_unstable();
        prop_assert_eq!(stored, expected.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_base_of_any_height_serves_an_image_of_any_other() {
    for base in of_every_height() {
        for mut wanted in of_every_height() {
            let blobs = MemoryBlobs::default();
            let base_root = base.store(&blobs);
            // Only the last block is given: what the base has before it stays.
            let mut image = based(&blobs, base_root, wanted.total_bytes);
            let last = wanted.blocks() - 1;
            image.set(last, block_id(last, 1)).unwrap();
            let kept = base.blocks.iter().filter(|(block, _)| **block < last);
            wanted.blocks.extend(kept);
            assert_eq!(image.finish().unwrap(), wanted.store(&MemoryBlobs::default()));
        }
    }
}

/// 2^21 blocks, every one of them data in the places where tests look.
fn large() -> Sparse {
    let places = [0..300, 1_000_000..1_000_300, 2_000_000..2_000_300];
    let blocks = places.into_iter().flatten().map(|block| (block, block_id(block, 1))).collect();
    Sparse { total_bytes: BLOCK_BYTES << 21, blocks }
}

#[test]
fn one_changed_block_costs_a_node_for_each_level() {
    let blobs = MemoryBlobs::default();
    let root = large().store(&blobs);
    for (changes, nodes) in [
        (vec![], 0),
        (vec![1_000_100], 3),
        (vec![1_000_100, 1_000_101], 3),
        (vec![5, 1_000_100, 2_000_100], 7),
    ] {
        blobs.take_read();
        blobs.take_stored();
        let mut image = based(&blobs, root, root.total_bytes());
        changes.iter().for_each(|&block| image.set(block, block_id(block, 2)).unwrap());
        image.finish().unwrap();
        assert_eq!((blobs.take_read().len(), blobs.take_stored().len()), (nodes, nodes));
    }
}

#[test]
fn what_is_given_as_it_was_is_not_stored_again() {
    let blobs = MemoryBlobs::default();
    let image = large();
    let root = image.store(&blobs);
    blobs.take_stored();
    let mut same = based(&blobs, root, root.total_bytes());
    image.blocks.iter().for_each(|(&block, &id)| same.set(block, id).unwrap());
    assert_eq!(same.finish().unwrap(), root);
    assert!(blobs.take_stored().is_empty());
}

#[test]
fn many_holes_cost_a_few_nodes() {
    let blobs = MemoryBlobs::default();
    let root = large().store(&blobs);
    blobs.take_read();
    let mut image = based(&blobs, root, root.total_bytes());
    image.set_holes(1..2_000_200).unwrap();
    image.finish().unwrap();
    assert!(blobs.take_read().len() <= 5);
}

#[test]
fn a_block_in_which_one_of_the_images_ends_must_be_given() {
    let half = BLOCK_BYTES / 2;
    let blobs = MemoryBlobs::default();
    for (before, after, required) in [
        (300 * BLOCK_BYTES + half, 400 * BLOCK_BYTES, Some(300)),
        (300 * BLOCK_BYTES + half, 301 * BLOCK_BYTES, Some(300)),
        (400 * BLOCK_BYTES, 300 * BLOCK_BYTES + half, Some(300)),
        (300 * BLOCK_BYTES + half, 300 * BLOCK_BYTES + half - 1, Some(300)),
        (300 * BLOCK_BYTES + half, 300 * BLOCK_BYTES + half, None),
        (300 * BLOCK_BYTES, 400 * BLOCK_BYTES, None),
        (300 * BLOCK_BYTES, 400 * BLOCK_BYTES - half, None),
        (400 * BLOCK_BYTES - half, 300 * BLOCK_BYTES, None),
        (0, half, None),
        (half, 0, None),
    ] {
        let blocks = (0..3).map(|block| (block, block_id(block, 1))).collect();
        let mut base = Sparse { total_bytes: 3 * BLOCK_BYTES, blocks };
        base.resize(before);
        let root = base.store(&blobs);
        let new = || based(&blobs, root, after);
        assert_eq!(new().required_block(), required, "{before} to {after}");
        let Some(block) = required else {
            new().finish().unwrap();
            continue;
        };
        let is_refused = |error: &Error| matches!(error, Error::InvalidInput(text) if text.contains("ends was not given"));
        assert!(is_refused(&new().finish().unwrap_err()));
        if after.div_ceil(BLOCK_BYTES) > block + 1 {
            assert!(is_refused(&new().set(block + 1, Id::HOLE).unwrap_err()));
        }
        let mut given = new();
        given.set(block, block_id(block, 2)).unwrap();
        given.finish().unwrap();
        let mut as_hole = new();
        as_hole.set_holes(block - 1..block + 1).unwrap();
        as_hole.finish().unwrap();
    }
}

#[test]
fn blocks_out_of_order_or_behind_the_end_are_refused() {
    let blobs = MemoryBlobs::default();
    let root = large().store(&blobs);
    let mut image = based(&blobs, root, root.total_bytes());
    image.set(5, Id::HOLE).unwrap();
    for block in [5, 4, 0, 1 << 21, u64::MAX] {
        let error = image.set(block, Id::HOLE).unwrap_err();
        assert!(matches!(error, Error::InvalidInput(_)), "{block}: {error}");
    }
    #[allow(clippy::reversed_empty_ranges, reason = "it is what is refused")]
    for blocks in [5..9, 9..8, 100..(1 << 21) + 1] {
        assert!(matches!(image.set_holes(blocks), Err(Error::InvalidInput(_))));
    }
    image.set_holes(6..6).unwrap();
    image.set(6, Id::HOLE).unwrap();
}

#[test]
fn a_node_of_the_base_that_cannot_be_read_is_an_error_of_its_own() {
    let whole = MemoryBlobs::default();
    let root = large().store(&whole);
    let above: BTreeMap<_, _> = nodes(&whole, root);
    for place in [(2, 0), (1, 999_424), (0, 999_936)] {
        for is_missing in [true, false] {
            let blobs = MemoryBlobs::default();
            large().store(&blobs);
            let id = above[&place];
            if is_missing {
                blobs.remove(&id)
            } else {
                blobs.replace(&id, vec![0; 32])
            };
            let mut image = based(&blobs, root, root.total_bytes());
            let error = image.set(1_000_000, Id::HOLE).unwrap_err();
            assert!(
                matches!(&error, Error::BaseUnusable { base, .. } if base == "base"),
                "{place:?}: {error}"
            );
            image.abandon().unwrap();
            // What lies beside it is not read.
            if place.0 == 0 {
                let mut image = based(&blobs, root, root.total_bytes());
                image.set(5, Id::HOLE).unwrap();
                image.finish().unwrap();
            }
        }
    }
}

#[test]
fn a_base_that_goes_on_behind_its_end_is_refused() {
    let blobs = MemoryBlobs::default();
    let root = large().store(&blobs);
    let shorter = ImageRoot::new(root.id(), 2_000_299 * BLOCK_BYTES, root.block_bytes()).unwrap();
    let mut image = based(&blobs, shorter, root.total_bytes());
    let error = image.set(2_000_299, Id::HOLE).unwrap_err();
    assert!(matches!(error, Error::BaseUnusable { .. }), "{error}");
}
