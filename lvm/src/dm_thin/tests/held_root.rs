//! A pool's metadata snapshot: a superblock of its own, which the pool's names.

use std::cell::RefCell;
use std::rc::Rc;

use super::super::block::{BLOCK_BYTES, BlockKind, seal};
use super::super::memory::MemoryBlocks;
use super::super::{MetadataBlock, MetadataError, Root, ThinMetadata};
use super::image::{Image, Shape, Volume, device};

const SHAPE: Shape = Shape { seed: 5, entries: 6, slack: false };

/// Changes the superblock in `block` and seals it.
fn edit(image: &mut [u8], block: u64, change: impl FnOnce(&mut [u8; BLOCK_BYTES])) {
    let bytes = &mut image.as_chunks_mut::<BLOCK_BYTES>().0[block as usize];
    change(bytes);
    seal(bytes, BlockKind::Superblock, MetadataBlock(block));
}

fn hold(image: &mut [u8], held: u64) {
    edit(image, 0, |block| block[56..64].copy_from_slice(&held.to_le_bytes()));
}

/// Metadata with a snapshot in its last block; the pool's own trees have gone on since.
fn held() -> (MemoryBlocks, Rc<RefCell<Vec<u8>>>, u64) {
    let mut image = Image::new(128);
    let volume: Volume = (0..40).map(|thin| (thin, (thin, 1))).collect();
    image.add(1, &volume, SHAPE);
    let mut bytes = image.bytes(SHAPE);
    let held = (bytes.len() / BLOCK_BYTES) as u64;
    bytes.extend_from_within(..BLOCK_BYTES);
    edit(&mut bytes, held, |_| {});
    edit(&mut bytes, 0, |block| block[320..328].fill(0xff));
    hold(&mut bytes, held);
    let source = MemoryBlocks::new(bytes);
    let image = source.image();
    (source, image, held)
}

#[test]
fn a_metadata_snapshot_is_read_where_there_is_one() {
    let (source, _, block) = held();
    let mut metadata = ThinMetadata::new(source, Root::HeldIfAny).unwrap();
    assert_eq!(metadata.held_root(), Some(MetadataBlock(block)));
    let device = device(&mut metadata, 1);
    assert_eq!(metadata.mappings(&device).unwrap().filter_map(Result::ok).count(), 40);
    metadata.check_unchanged().unwrap();

    let (source, ..) = held();
    let mut pools_own = ThinMetadata::new(source, Root::Superblock).unwrap();
    assert_eq!(pools_own.held_root(), None);
    assert!(matches!(pools_own.devices_after(None), Err(MetadataError::Damaged { .. })));
}

#[test]
fn the_status_line_can_name_it() {
    let (source, _, block) = held();
    let mut metadata = ThinMetadata::new(source, Root::Held(MetadataBlock(block))).unwrap();
    assert_eq!(metadata.devices_after(None).unwrap().len(), 1);
    // Not a superblock.
    let (source, ..) = held();
    let error = ThinMetadata::new(source, Root::Held(MetadataBlock(1))).unwrap_err();
    assert!(matches!(error, MetadataError::Damaged { block: MetadataBlock(1), .. }), "{error}");
}

#[test]
fn a_metadata_snapshot_that_was_released_meanwhile_is_noticed() {
    for change in [
        |image: &mut [u8], _| hold(image, 0),
        |image: &mut [u8], block| {
            // Released and taken anew in the same block, a transaction later.
            edit(image, block, |block| block[48] += 1);
        },
    ] {
        let (source, image, block) = held();
        let mut metadata = ThinMetadata::new(source, Root::HeldIfAny).unwrap();
        change(&mut image.borrow_mut(), block);
        assert!(matches!(metadata.check_unchanged(), Err(MetadataError::Changed)));
    }
}

#[test]
fn the_pool_may_go_on_while_its_snapshot_is_read() {
    let (source, image, block) = held();
    let mut metadata = ThinMetadata::new(source, Root::HeldIfAny).unwrap();
    edit(&mut image.borrow_mut(), 0, |block| block[48] += 1);
    hold(&mut image.borrow_mut(), block);
    metadata.check_unchanged().unwrap();
}
