//! What is stored once, and what happens when memory or workers fail.

use std::sync::Arc;

use thinmover_repository::store::StoreErrorKind;
use thinmover_repository::{Domain, Error, UploadLimits, VolumeKey};

use super::support::*;

#[test]
fn the_same_block_is_stored_once_within_and_between_uploads() {
    let (_dir, repository) = directory_repository();
    let image = [noise(1, BLOCK), noise(1, BLOCK), noise(2, BLOCK)].concat();
    let first = back_up(&repository, "vg0/a", &image).unwrap();
    assert!(first.stored_bytes < 3 * BLOCK as u64);
    let changed = [noise(1, BLOCK), noise(3, BLOCK), noise(2, BLOCK)].concat();
    let second = back_up(&repository, "vg0/b", &changed).unwrap();
    assert!(second.stored_bytes < 2 * BLOCK as u64);
    for (backup, image) in [(first, image), (second, changed)] {
        assert!(restore(&repository, &backup).unwrap() == image);
        assert!(is_whole(&repository, &backup));
    }
}

#[test]
fn domains_share_nothing() {
    let (_dir, repository) = directory_repository();
    let image = noise(1, BLOCK);
    let mut stored = Vec::new();
    for domain in ["host-1", "host-2"] {
        let (domain, volume) = (Domain(domain.into()), VolumeKey("v".into()));
        let upload = repository.begin_upload(&domain, &volume, UploadLimits::default()).unwrap();
        let backup = commit_image(upload, "vg0/a", &image).unwrap();
        assert!(restore(&repository, &backup).unwrap() == image);
        stored.push((backup.stored_bytes, backup.image, backup.location().volume));
    }
    assert_eq!(stored[0].0, stored[1].0);
    assert_ne!(stored[0].1, stored[1].1);
    assert_ne!(stored[0].2, stored[1].2);
}

#[test]
fn without_memory_for_ids_blocks_are_stored_again_and_it_says_so() {
    let (_dir, repository) = directory_repository();
    let image = [noise(1, BLOCK), noise(1, BLOCK)].concat();
    back_up(&repository, "vg0/a", &image).unwrap();
    let limits = UploadLimits { index_memory_bytes: 0, ..UploadLimits::default() };
    let (domain, volume) = (Domain("host-1".into()), VolumeKey("v".into()));
    let upload = repository.begin_upload(&domain, &volume, limits).unwrap();
    let root = store_image(&upload, &image).unwrap();
    assert!(upload.is_deduplication_limited());
    let backup = upload.commit(draft("vg0/a", root, image.len() as u64)).unwrap();
    assert!(backup.stored_bytes > 2 * BLOCK as u64);
    assert!(restore(&repository, &backup).unwrap() == image);
    assert!(is_whole(&repository, &backup));
}

#[test]
fn a_damaged_index_costs_space_and_is_reported() {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    let image = noise(1, BLOCK);
    back_up(&repository, "vg0/a", &image).unwrap();
    let index = memory.keys().into_iter().find(|key| key.contains("/index/")).unwrap();
    memory.change(&index, |bytes| *bytes.last_mut().unwrap() ^= 1);
    let (domain, volume) = (Domain("host-1".into()), VolumeKey("v".into()));
    let upload = repository.begin_upload(&domain, &volume, UploadLimits::default()).unwrap();
    let root = store_image(&upload, &image).unwrap();
    assert!(upload.warnings()[0].contains(&index), "{:?}", upload.warnings());
    let backup = upload.commit(draft("vg0/a", root, image.len() as u64)).unwrap();
    assert!(backup.stored_bytes > BLOCK as u64);
    assert!(restore(&repository, &backup).unwrap() == image);
}

#[test]
fn many_workers_store_each_block_once() {
    let (_dir, repository) = directory_repository();
    let (domain, volume) = (Domain("host-1".into()), VolumeKey("v".into()));
    let upload = repository.begin_upload(&domain, &volume, UploadLimits::default()).unwrap();
    let ids: Vec<Vec<_>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut packer = upload.packer().unwrap();
                    let ids = (0..150)
                        .map(|seed| packer.store_block(&noise(seed, BLOCK)).unwrap())
                        .collect();
                    packer.finish().unwrap();
                    ids
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let new = ids.iter().flatten().filter(|stored| stored.new).count();
    assert_eq!(new, 150);
    let mut tree = upload.image_builder(150 * BLOCK as u64, BLOCK as u32).unwrap();
    ids[0].iter().for_each(|stored| tree.push(stored.id).unwrap());
    let root = tree.finish().unwrap();
    let backup = upload.commit(draft("vg0/a", root, 0)).unwrap();
    let image: Vec<u8> = (0..150).flat_map(|seed| noise(seed, BLOCK)).collect();
    assert!(restore(&repository, &backup).unwrap() == image);
    assert!(is_whole(&repository, &backup));
}

#[test]
fn one_failed_worker_keeps_the_upload_from_committing() {
    let memory = MemoryStore::default();
    let store = FaultyStore::new(Arc::new(memory.clone()), |verb, key| {
        let is_pack = verb == "create" && key.contains("/pack/");
        is_pack.then_some(Fault::Before(StoreErrorKind::NoSpace))
    });
    let repository = init(store);
    let (domain, volume) = (Domain("host-1".into()), VolumeKey("v".into()));
    let upload = repository.begin_upload(&domain, &volume, UploadLimits::default()).unwrap();
    let mut failing = upload.packer().unwrap();
    let mut counting_on_it = upload.packer().unwrap();
    let claimed = failing.store_block(&noise(0, BLOCK)).unwrap();
    assert!(claimed.new);
    assert!(!counting_on_it.store_block(&noise(0, BLOCK)).unwrap().new);
    let error = (1..100).find_map(|seed| failing.store_block(&noise(seed, BLOCK)).err()).unwrap();
    assert!(error.is_no_space(), "{error}");
    let stopped = counting_on_it.store_block(&noise(0, BLOCK)).unwrap_err();
    assert!(stopped.is_no_space(), "the others stop, for the same reason: {stopped}");
    drop((failing, counting_on_it));
    let mut tree = match upload.image_builder(BLOCK as u64, BLOCK as u32) {
        Ok(tree) => tree,
        Err(error) => panic!("{error}"),
    };
    tree.push(claimed.id).unwrap();
    assert!(tree.finish().is_err());
    assert!(!memory.keys().iter().any(|key| key.contains("/outcome/")));
}

#[test]
fn a_worker_dropped_with_blocks_in_hand_keeps_the_upload_from_committing() {
    let (_dir, repository) = directory_repository();
    let (domain, volume) = (Domain("host-1".into()), VolumeKey("v".into()));
    let upload = repository.begin_upload(&domain, &volume, UploadLimits::default()).unwrap();
    let tree = upload.image_builder(0, BLOCK as u32).unwrap();
    let root = tree.finish().unwrap();
    let mut packer = upload.packer().unwrap();
    packer.store_block(&noise(1, BLOCK)).unwrap();
    drop(packer);
    let error = upload.commit(draft("vg0/a", root, 0)).unwrap_err();
    assert!(
        matches!(&error, Error::UploadFailed { cause } if matches!(**cause, Error::WorkerLost)),
        "{error}"
    );
}

#[test]
fn an_upload_on_a_base_looks_nothing_up_before_it_has_much() {
    let (_dir, repository) = directory_repository();
    let (before, known) = (text(1, 6 * BLOCK), noise(2, 6 * BLOCK));
    let first = back_up(&repository, "vg0/a", &before).unwrap();
    back_up(&repository, "vg0/b", &known).unwrap();
    let limits = UploadLimits { unlooked_bytes: 2 * BLOCK, ..UploadLimits::default() };
    let upload = begin_with(&repository, "vg0/a", limits).unwrap();
    let base = base_of(&upload, &first);
    let mut image = upload.based_image(&base, known.len() as u64).unwrap();
    let mut packer = upload.packer().unwrap();
    for (number, block) in known.chunks(BLOCK).enumerate() {
        image.set(number as u64, packer.store_block(block).unwrap().id).unwrap();
    }
    packer.finish().unwrap();
    let root = image.finish().unwrap();
    let second = upload.commit(draft("vg0/a", root, 0)).unwrap();
    assert_eq!(second.new_bytes, 2 * BLOCK as u64, "the domain has all of it");
    assert!(restore(&repository, &second).unwrap() == known);
    assert!(is_whole(&repository, &second));
}
