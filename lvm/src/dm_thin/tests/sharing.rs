//! The cost of a comparison follows the change.

use super::super::memory::MemoryBlocks;
use super::super::{Change, Root, ThinMetadata};
use super::image::{Image, Shape, Volume, device};
use crate::units::Bytes;

#[test]
fn two_trees_that_share_most_nodes_are_compared_by_reading_what_they_do_not_share() {
    // Nodes that are full but for their end, four heights.
    let shape = Shape { seed: 3, entries: 100, slack: false };
    let before: Volume = (0..1_000_000).map(|thin| (thin, (thin, 0))).collect();
    let mut after = before.clone();
    let rewritten: Vec<u64> = (0..40).map(|step| 12_345 + step * 17_000).collect();
    for &thin in &rewritten {
        after.insert(thin, (2_000_000 + thin, 1));
    }
    after.remove(&777_777);

    // How many nodes a tree adds to those of the other.
    let nodes_added = |first: &Volume, second: &Volume| {
        let mut image = Image::new(128);
        image.add(1, first, shape);
        let nodes = image.blocks.len();
        image.add(2, second, shape);
        (nodes, (image.blocks.len() - nodes) as u64)
    };
    let ((nodes, of_right), (_, of_left)) =
        (nodes_added(&before, &after), nodes_added(&after, &before));

    let mut image = Image::new(128);
    image.add(1, &before, shape);
    image.add(2, &after, shape);
    let mut metadata = image.read(shape);
    let (from, to) = (device(&mut metadata, 1), device(&mut metadata, 2));
    let read_before = metadata.blocks_read();
    let found: Vec<_> = metadata
        .delta(&from, &to, Bytes(0)..Bytes(u64::MAX))
        .unwrap()
        .map(Result::unwrap)
        .map(|changed| (changed.extent.offset.0 >> 16, changed.change))
        .collect();
    let read = metadata.blocks_read() - read_before;
    let mut wanted: Vec<_> = rewritten.into_iter().map(|thin| (thin, Change::Written)).collect();
    wanted.push((777_777, Change::Discarded));
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    assert!(nodes > 10_000 && of_left >= 80 && of_right >= 80, "{nodes} {of_left} {of_right}");
    // Each node that the trees do not share, and the way to the leaves of both.
    let height = 4;
    assert_eq!(read, of_left + of_right + 2 * height);
}

#[test]
fn a_device_and_its_untouched_snapshot_cost_no_leaf() {
    let shape = Shape { seed: 3, entries: 100, slack: false };
    let volume: Volume = (0..100_000).map(|thin| (thin, (thin, 0))).collect();
    let mut image = Image::new(128);
    image.add(1, &volume, shape);
    image.add(2, &volume, shape);
    let source = MemoryBlocks::new(image.bytes(shape));
    let reads = source.counter();
    let mut metadata = ThinMetadata::new(source, Root::Superblock).unwrap();
    let (from, to) = (device(&mut metadata, 1), device(&mut metadata, 2));
    let before = reads.get();
    assert_eq!(metadata.delta(&from, &to, Bytes(0)..Bytes(u64::MAX)).unwrap().count(), 0);
    assert!(reads.get() - before < 16);
}

#[test]
fn an_extent_at_the_end_of_a_volume_does_not_cost_the_rest_of_it() {
    let shape = Shape { seed: 3, entries: 100, slack: false };
    let volume: Volume = (0..100_000).map(|thin| (thin, (thin, 0))).collect();
    let mut image = Image::new(128);
    image.add(1, &volume, shape);
    let source = MemoryBlocks::new(image.bytes(shape));
    let reads = source.counter();
    let mut metadata = ThinMetadata::new(source, Root::Superblock).unwrap();
    let device = device(&mut metadata, 1);
    let before = reads.get();
    let tail = Bytes(99_990 << 16)..Bytes(u64::MAX);
    let extents: Vec<_> = metadata.mapped(&device, tail).unwrap().map(Result::unwrap).collect();
    assert_eq!(extents.len(), 1);
    assert_eq!(extents[0].length, Bytes(10 << 16));
    assert!(reads.get() - before < 24);
}
