//! Damaged and hostile metadata: an error that names the block, in bounded time.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::block::{BlockKind, seal};
use super::super::memory::MemoryBlocks;
use super::super::{MetadataBlock, MetadataError, Problem, Root, ThinMetadata, fuzzing};
use super::image::{Image, Shape, Volume, device, mix, node_bytes};
use crate::units::Bytes;

const SHAPE: Shape = Shape { seed: 5, entries: 6, slack: false };

fn child(block: u64) -> Vec<u8> {
    block.to_le_bytes().to_vec()
}

/// Everything there is to know of devices 1 and 2.
fn read(image: &[u8]) -> Result<Vec<String>, MetadataError> {
    read_from(MemoryBlocks::new(image.to_vec()))
}

fn read_from(source: MemoryBlocks) -> Result<Vec<String>, MetadataError> {
    let mut metadata = ThinMetadata::new(source, Root::HeldIfAny)?;
    let devices = metadata.devices_after(None)?;
    let mut found = vec![format!("{:?}", metadata.superblock()), format!("{devices:?}")];
    for device in &devices {
        for mapping in metadata.mappings(device)? {
            found.push(format!("{:?}", mapping?));
        }
    }
    if let [from, to, ..] = &devices[..] {
        for changed in metadata.delta(from, to, Bytes(0)..Bytes(u64::MAX))? {
            found.push(format!("{:?}", changed?));
        }
    }
    Ok(found)
}

fn small() -> Vec<u8> {
    let mut image = Image::new(128);
    let volume: Volume = (0..40).map(|thin| (thin * 3, (thin, 1))).collect();
    image.add(1, &volume, SHAPE);
    image.add(2, &volume.into_iter().skip(4).collect(), SHAPE);
    image.bytes(SHAPE)
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    let image = small();
    let whole = read(&image).unwrap();
    let step = if image.len() > 100_000 { 7 } else { 1 };
    for at in (0..image.len()).step_by(step) {
        let mut damaged = image.clone();
        damaged[at] ^= 1 << (mix(at as u64) % 8);
        match read(&damaged) {
            Ok(found) => assert_eq!(found, whole, "byte {at}"),
            Err(MetadataError::Damaged { block, .. }) => {
                assert_eq!(block, MetadataBlock(at as u64 / 4096), "byte {at}");
            }
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
}

#[test]
fn a_shortened_image_is_an_error() {
    let image = small();
    for length in (0..image.len()).step_by(1000) {
        assert!(matches!(read(&image[..length]), Err(MetadataError::Damaged { .. })), "{length}");
    }
}

/// The error of reading device 1, whose tree `build` makes and returns the root of.
fn error_of(build: impl FnOnce(&mut Image) -> MetadataBlock) -> MetadataError {
    let mut image = Image::new(128);
    let root = build(&mut image);
    image.add_root(1, root, 0);
    let source = MemoryBlocks::new(image.bytes(SHAPE));
    let reads = source.counter();
    let mut metadata = ThinMetadata::new(source, Root::Superblock).unwrap();
    let device = device(&mut metadata, 1);
    let error = match metadata.mappings(&device) {
        Ok(mappings) => mappings.filter_map(Result::err).next().expect("an error"),
        Err(error) => error,
    };
    assert!(reads.get() < 100, "{} reads", reads.get());
    error
}

fn problem_of(build: impl FnOnce(&mut Image) -> MetadataBlock) -> Problem {
    match error_of(build) {
        MetadataError::Damaged { problem, .. } => problem,
        error => panic!("{error}"),
    }
}

/// Puts a node where another is, sealed.
fn replace(image: &mut Image, at: MetadataBlock, is_leaf: bool, entries: &[(u64, Vec<u8>)]) {
    let block = &mut image.blocks[at.0 as usize];
    *block = node_bytes(is_leaf, entries);
    seal(block, BlockKind::Node, at);
}

fn patched(image: &mut Image, entries: &[(u64, Vec<u8>)], at: usize, word: u32) -> MetadataBlock {
    let root = image.node(true, entries);
    let block = &mut image.blocks[root.0 as usize];
    block[at..at + 4].copy_from_slice(&word.to_le_bytes());
    seal(block, BlockKind::Node, root);
    root
}

#[test]
fn a_node_below_itself_is_an_error() {
    for keys in [vec![0], vec![0, 1000]] {
        let problem = problem_of(|image| {
            let root = image.node(false, &[(7, child(0))]);
            let entries: Vec<_> = keys.iter().map(|&key| (key, child(root.0))).collect();
            replace(image, root, false, &entries);
            root
        });
        assert!(
            matches!(problem, Problem::TooHigh(_) | Problem::KeyRange { .. }),
            "{keys:?}: {problem}"
        );
    }
}

#[test]
fn a_circle_of_nodes_in_a_later_branch_is_an_error() {
    let problem = problem_of(|image| {
        let leaf = image.node(true, &[(0, child(0))]);
        let good = image.node(false, &[(0, child(leaf.0))]);
        let circle = image.node(false, &[(100, child(0))]);
        replace(image, circle, false, &[(100, child(circle.0))]);
        image.node(false, &[(0, child(good.0)), (100, child(circle.0))])
    });
    assert!(matches!(problem, Problem::Height { is_leaf: false }), "{problem}");
}

#[test]
fn a_leaf_that_two_parents_claim_is_an_error() {
    let problem = problem_of(|image| {
        let leaf = image.node(true, &[(0, child(0)), (5, child(0))]);
        image.node(false, &[(0, child(leaf.0)), (3, child(leaf.0))])
    });
    assert_eq!(problem, Problem::KeyRange { key: 5, first: 0, last: 2 });
}

#[test]
fn an_empty_leaf_can_stand_anywhere_and_costs_one_read_each() {
    let mut image = Image::new(128);
    let empty = image.node(true, &[]);
    let entries: Vec<_> = (0..252).map(|key| (key, child(empty.0))).collect();
    let middle = image.node(false, &entries);
    let root = image.node(false, &[(0, child(middle.0))]);
    image.add_root(1, root, 0);
    let source = MemoryBlocks::new(image.bytes(SHAPE));
    let reads = source.counter();
    let mut metadata = ThinMetadata::new(source, Root::Superblock).unwrap();
    let device = device(&mut metadata, 1);
    assert_eq!(metadata.mappings(&device).unwrap().count(), 0);
    assert!(reads.get() < 252 + 20);
}

#[test]
fn keys_out_of_order_are_an_error() {
    for keys in [[5, 4], [5, 5]] {
        let problem = problem_of(|image| image.node(true, &keys.map(|key| (key, child(0)))));
        assert_eq!(problem, Problem::KeyOrder { before: 5, key: keys[1] });
    }
    // Each leaf is in order, the leaves are not.
    let problem = problem_of(|image| {
        let (one, two) =
            (image.node(true, &[(0, child(0)), (9, child(0))]), image.node(true, &[(4, child(0))]));
        image.node(false, &[(0, child(one.0)), (4, child(two.0))])
    });
    assert_eq!(problem, Problem::KeyRange { key: 9, first: 0, last: 3 });
}

#[test]
fn a_key_beyond_any_volume_is_an_error() {
    let problem = problem_of(|image| image.node(true, &[(u64::MAX, child(0))]));
    assert!(matches!(problem, Problem::KeyRange { key: u64::MAX, .. }), "{problem}");
}

#[test]
fn counts_that_do_not_fit_a_block_are_an_error() {
    let entries = [(1, child(0)), (2, child(0))];
    for (at, word) in [(16, 253), (16, u32::MAX), (20, 1), (20, 255), (20, u32::MAX)] {
        let problem = problem_of(|image| patched(image, &entries, at, word));
        assert!(matches!(problem, Problem::EntryCount { .. }), "{at} {word}: {problem}");
    }
    for size in [0, 7, 24, u32::MAX] {
        let problem = problem_of(|image| patched(image, &entries, 24, size));
        assert_eq!(problem, Problem::ValueSize { found: size, expected: 8 });
    }
    for flags in [0, 3, 4, 6] {
        let problem = problem_of(|image| patched(image, &entries, 4, flags));
        assert_eq!(problem, Problem::NodeKind(flags));
    }
}

#[test]
fn an_internal_node_without_children_is_an_error() {
    assert_eq!(problem_of(|image| image.node(false, &[])), Problem::NoChildren);
}

#[test]
fn leaves_at_different_heights_are_an_error() {
    let problem = problem_of(|image| {
        let (one, two) = (image.node(true, &[(0, child(0))]), image.node(true, &[(5, child(0))]));
        let middle = image.node(false, &[(0, child(one.0))]);
        image.node(false, &[(0, child(middle.0)), (5, child(two.0))])
    });
    assert_eq!(problem, Problem::Height { is_leaf: true });
}

#[test]
fn a_tree_higher_than_any_is_an_error() {
    let problem = problem_of(|image| {
        let mut root = image.node(true, &[(0, child(0))]);
        for _ in 0..16 {
            root = image.node(false, &[(0, child(root.0))]);
        }
        root
    });
    assert_eq!(problem, Problem::TooHigh(16));
}

#[test]
fn a_block_past_the_end_is_an_error_that_names_it() {
    let error = error_of(|image| image.node(false, &[(0, child(1 << 50))]));
    assert_eq!(
        error.to_string(),
        "metadata block 1125899906842624: it is past the end of the metadata"
    );
}

#[test]
fn a_block_that_cannot_be_read_is_an_error_where_it_is_wanted_and_nowhere_else() {
    let whole = read(&small()).unwrap();
    let blocks = small().len() as u64 / 4096;
    let mut wanted = 0;
    for bad in 0..blocks {
        let mut source = MemoryBlocks::new(small());
        source.bad_block = Some(bad);
        match read_from(source) {
            Ok(found) => assert_eq!(found, whole),
            Err(MetadataError::Read { block, .. }) => {
                assert_eq!(block, MetadataBlock(bad));
                wanted += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(wanted, blocks, "every block of this image is a node or the superblock");
}

#[test]
fn a_bad_block_between_two_that_are_wanted_does_no_harm() {
    let mut image = Image::new(128);
    let one = image.node(true, &[(0, child(0))]);
    let between = image.node(true, &[(77, child(0))]);
    let two = image.node(true, &[(5, child(0))]);
    let root = image.node(false, &[(0, child(one.0)), (5, child(two.0))]);
    image.add_root(1, root, 2);
    let mut source = MemoryBlocks::new(image.bytes(SHAPE));
    source.bad_block = Some(between.0);
    let mut metadata = ThinMetadata::new(source, Root::Superblock).unwrap();
    let device = device(&mut metadata, 1);
    assert_eq!(metadata.mappings(&device).unwrap().filter_map(Result::ok).count(), 2);
}

#[test]
fn a_superblock_of_another_kind_is_refused() {
    let superblock = |at: usize, word: u32| {
        let mut image = small();
        image[at..at + 4].copy_from_slice(&word.to_le_bytes());
        let block: &mut [u8; 4096] = (&mut image[..4096]).try_into().unwrap();
        seal(block, BlockKind::Superblock, MetadataBlock(0));
        match read(&image) {
            Err(MetadataError::Damaged { block: MetadataBlock(0), problem }) => problem,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(superblock(32, 1), Problem::NoSuperblock(_)));
    assert_eq!(superblock(40, 3), Problem::Version(3));
    assert_eq!(superblock(44, 1 << 24), Problem::Time(1 << 24));
    assert_eq!(superblock(336, 100), Problem::ChunkSize(100));
    assert_eq!(superblock(340, 16), Problem::BlockSize(16));
    assert_eq!(superblock(360, 1), Problem::Features(1));
    let error = read(&vec![0; 8192]).unwrap_err().to_string();
    assert_eq!(error, "metadata block 0: it is no superblock of a thin pool (magic number 0)");
}

#[test]
fn every_input_that_was_kept_for_the_fuzzer_is_read_without_harm() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/read_all");
    let read = |path: PathBuf| fuzzing::read_all(&fs::read(path).unwrap());
    let mappings: Vec<usize> =
        fs::read_dir(corpus).unwrap().map(|entry| read(entry.unwrap().path())).collect();
    // Among them is real metadata, which can be read.
    assert!(mappings.iter().filter(|mappings| **mappings > 0).count() >= 4, "{mappings:?}");
}

#[test]
fn packed_metadata_unpacks_to_the_same_blocks() {
    let image = small();
    assert!(image.len() < 64 * 4096);
    assert_eq!(fuzzing::unpack(&fuzzing::pack(&image)), image);
    assert_eq!(fuzzing::read_all(&fuzzing::pack(&image)), 76);
}
