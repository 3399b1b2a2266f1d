//! What is restored is what was backed up.

use proptest::prelude::*;
use thinmover_repository::{
    Domain, Encryption, Id, InitOptions, ReadLimits, Repository, UploadLimits, VolumeKey,
};

use super::support::*;

#[test]
fn an_image_of_every_kind_of_block_comes_back_equal() {
    let (_dir, repository) = directory_repository();
    let image = [
        noise(1, BLOCK),
        text(2, 3 * BLOCK),
        vec![0; 200 * BLOCK],
        noise(1, BLOCK),
        text(3, BLOCK),
        noise(4, 1234),
    ]
    .concat();
    let backup = back_up(&repository, "vg0/a", &image).unwrap();
    assert!(restore(&repository, &backup).unwrap() == image);
    assert!(is_whole(&repository, &backup));
    assert_eq!(backup.total_bytes, image.len() as u64);
    assert_eq!(repository.backup(&backup.id[..8]).unwrap(), backup);
}

#[test]
fn both_ciphers_work() {
    for encryption in [Encryption::Aes256Gcm, Encryption::ChaCha20Poly1305] {
        let store = MemoryStore::default();
        let options = InitOptions { encryption, ..cheap() };
        let made = Repository::init(std::sync::Arc::new(store.clone()), &options, &passphrase());
        assert_eq!(made.unwrap().descriptor().encryption, encryption);
        let repository = Repository::open(std::sync::Arc::new(store), &passphrase()).unwrap();
        let image = [noise(1, BLOCK), text(1, BLOCK)].concat();
        let backup = back_up(&repository, "vg0/a", &image).unwrap();
        assert!(restore(&repository, &backup).unwrap() == image);
    }
}

#[test]
fn many_packs_and_index_objects_come_back_equal_within_small_bounds() {
    let (_dir, repository) = directory_repository();
    let image = noise(5, 70 << 20);
    let limits = UploadLimits { session_entries: 1, ..UploadLimits::default() };
    let backup = back_up_with(&repository, "vg0/a", &image, limits).unwrap();
    assert!(repository.status().unwrap().containers >= 6);
    let tiny = ReadLimits { index_cache_bytes: 0 };
    for (window, limits) in [(7, tiny), (100_000, ReadLimits::default())] {
        assert!(restore_with(&repository, &backup, window, limits).unwrap() == image);
    }
    assert!(is_whole(&repository, &backup));
    assert!(backup.stored_bytes > image.len() as u64);
    let listed = repository.status().unwrap().stored_bytes;
    assert!(listed - backup.stored_bytes < 4096, "all but config, slot and manifest");
}

#[test]
fn blocks_of_the_largest_size_come_back_equal() {
    let (_dir, repository) = directory_repository();
    let block = 8 << 20;
    let blocks = [noise(1, block), text(2, block), noise(3, 100)];
    let total: usize = blocks.iter().map(Vec::len).sum();
    let (domain, volume) = (Domain("d".into()), VolumeKey("v".into()));
    let upload = repository.begin_upload(&domain, &volume, UploadLimits::default()).unwrap();
    let mut packer = upload.packer().unwrap();
    let mut tree = upload.image_builder(total as u64, block as u32).unwrap();
    for block in &blocks {
        tree.push(packer.store_block(block).unwrap().id).unwrap();
    }
    assert!(packer.store_block(&noise(1, block + 1)).is_err());
    assert!(packer.store_block(&[]).is_err());
    packer.finish().unwrap();
    let root = tree.finish().unwrap();
    let backup = upload.commit(draft("vg0/a", root, 0)).unwrap();
    assert!(restore(&repository, &backup).unwrap() == blocks.concat());
    assert!(is_whole(&repository, &backup));
}

#[test]
fn a_huge_empty_volume_costs_next_to_nothing() {
    let (_dir, repository) = directory_repository();
    let (domain, volume) = (Domain("d".into()), VolumeKey("v".into()));
    let upload = repository.begin_upload(&domain, &volume, UploadLimits::default()).unwrap();
    let total = 1 << 50;
    let blocks = total / BLOCK as u64;
    let mut packer = upload.packer().unwrap();
    let mut tree = upload.image_builder(total, BLOCK as u32).unwrap();
    tree.push_holes(blocks - 1).unwrap();
    assert!(tree.push_holes(2).is_err());
    tree.push(packer.store_block(&[1; BLOCK]).unwrap().id).unwrap();
    packer.finish().unwrap();
    let root = tree.finish().unwrap();
    let backup = upload.commit(draft("vg0/a", root, 0)).unwrap();
    assert!(backup.stored_bytes < 4096);
    assert!(repository.image(&backup, ReadLimits::default()).unwrap().root() == root);
}

#[test]
fn an_image_of_zeroes_and_one_of_nothing_store_no_blob() {
    let (_dir, repository) = directory_repository();
    for image in [vec![], vec![0; 10], vec![0; 300 * BLOCK]] {
        let backup = back_up(&repository, "vg0/a", &image).unwrap();
        assert_eq!((backup.image, backup.stored_bytes), (Id::HOLE, 0));
        assert!(restore(&repository, &backup).unwrap() == image);
        assert!(is_whole(&repository, &backup));
    }
}

#[test]
fn an_image_must_have_the_blocks_it_says() {
    let (_dir, repository) = directory_repository();
    let (domain, volume) = (Domain("d".into()), VolumeKey("v".into()));
    let upload = repository.begin_upload(&domain, &volume, UploadLimits::default()).unwrap();
    let mut tree = upload.image_builder(2 * BLOCK as u64, BLOCK as u32).unwrap();
    tree.push(Id::HOLE).unwrap();
    assert!(tree.finish().is_err());
    for block_bytes in [0, 1, 65_535, 100_000, 16 << 20] {
        assert!(upload.image_builder(1 << 20, block_bytes).is_err(), "{block_bytes}");
    }
    assert!(upload.image_builder(u64::MAX, BLOCK as u32).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_pattern_of_holes_and_blocks_comes_back_equal(
        runs in proptest::collection::vec((0u64..4, 1usize..300), 0..12),
        tail in 1usize..BLOCK,
        window in 1usize..500,
    ) {
        let repository = init(MemoryStore::default());
        let mut image: Vec<u8> = Vec::new();
        for (seed, blocks) in runs {
            match seed {
                0 => image.resize(image.len() + blocks * BLOCK, 0),
                seed => (0..blocks as u64 % 5).for_each(|n| image.extend(text(seed + n, BLOCK))),
            }
        }
        image.extend(text(9, tail));
        let backup = back_up(&repository, "vg0/a", &image).unwrap();
        let limits = ReadLimits::default();
        prop_assert!(restore_with(&repository, &backup, window, limits).unwrap() == image);
        // However the holes were counted, the same image has the same tree.
        let again = back_up_counting_holes(&repository, &image);
        prop_assert_eq!(again.image, backup.image);
    }
}

fn back_up_counting_holes(repository: &Repository, image: &[u8]) -> thinmover_repository::Manifest {
    let (domain, volume) = (Domain("host-1".into()), VolumeKey("v".into()));
    let upload = repository.begin_upload(&domain, &volume, UploadLimits::default()).unwrap();
    let mut packer = upload.packer().unwrap();
    let mut tree = upload.image_builder(image.len() as u64, BLOCK as u32).unwrap();
    let mut holes = 0;
    for block in image.chunks(BLOCK) {
        if block.iter().all(|&byte| byte == 0) {
            holes += 1;
            continue;
        }
        tree.push_holes(std::mem::take(&mut holes)).unwrap();
        tree.push(packer.store_block(block).unwrap().id).unwrap();
    }
    tree.push_holes(holes).unwrap();
    packer.finish().unwrap();
    let root = tree.finish().unwrap();
    upload.commit(draft("vg0/a", root, 0)).unwrap()
}
