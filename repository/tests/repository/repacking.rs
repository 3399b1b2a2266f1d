//! What maintenance stores anew so that other objects can go.

use std::ops::ControlFlow;
use std::time::Duration;

use thinmover_repository::{
    Collected, CollectionEnd, Filter, MaintainOptions, Manifest, RepackLimits, Repository,
    UploadLimits,
};

use super::support::*;

const MIB: usize = 1 << 20;

fn maintain(repository: &Repository, repack: RepackLimits) -> Collected {
    let scratch = tempfile::tempdir().unwrap();
    let options = MaintainOptions {
        fence_after: None,
        wait: Duration::ZERO,
        memory_bytes: 16 << 20,
        scratch: scratch.path().to_owned(),
        repack,
    };
    let report = repository.maintain(None, &options, &mut |_| ControlFlow::Continue(())).unwrap();
    report.domains.into_iter().next().unwrap().1
}

fn stored_bytes(repository: &Repository) -> usize {
    repository.status().unwrap().stored_bytes as usize
}

/// A live backup of 2 MiB that lie in a pack with 8 MiB which nobody wants any more.
fn mostly_dead() -> (MemoryStore, Repository, Manifest, Vec<u8>) {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    let image = noise(1, 10 * MIB);
    let gone = back_up(&repository, "vg0/a", &image).unwrap();
    let live = back_up(&repository, "vg0/b", &image[4 * MIB..6 * MIB]).unwrap();
    repository.delete(&gone).unwrap();
    (memory, repository, live, image[4 * MIB..6 * MIB].to_vec())
}

#[test]
fn a_pack_that_is_mostly_dead_goes_and_what_is_alive_of_it_stays() {
    let (_, repository, live, image) = mostly_dead();
    let collected = maintain(&repository, RepackLimits { bytes: 0, ..RepackLimits::default() });
    assert_eq!((collected.end, collected.repacked_bytes), (CollectionEnd::Finished, 0));
    assert!(stored_bytes(&repository) > 10 * MIB, "without a budget it stays");
    let little = RepackLimits { bytes: 1 << 20, ..RepackLimits::default() };
    assert_eq!(maintain(&repository, little).end, CollectionEnd::Idle, "it would not fit");

    // Nothing else has happened since.
    let collected = maintain(&repository, RepackLimits::default());
    assert!((2 * MIB..3 * MIB).contains(&(collected.repacked_bytes as usize)), "{collected:?}");
    assert!(collected.deleted_bytes as usize > 10 * MIB, "{collected:?}");
    assert!(stored_bytes(&repository) < 3 * MIB);
    assert!(is_whole(&repository, &live));
    assert!(restore(&repository, &live).unwrap() == image);
    assert!(repository.sessions().unwrap().is_empty());
    assert_eq!(maintain(&repository, RepackLimits::default()).end, CollectionEnd::Idle);
    let again = back_up(&repository, "vg0/d", &image).unwrap();
    assert_eq!(again.new_bytes, 0, "what was moved is known");
}

#[test]
fn what_does_not_fit_into_one_maintenance_is_left_to_the_next() {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    let images = [noise(1, 10 * MIB), noise(2, 10 * MIB)];
    let live = [0, 1].map(|at| {
        let gone = back_up(&repository, &format!("vg0/gone{at}"), &images[at]).unwrap();
        let live = back_up(&repository, &format!("vg0/{at}"), &images[at][..2 * MIB]).unwrap();
        repository.delete(&gone).unwrap();
        live
    });
    let one = RepackLimits { bytes: 3 << 20, ..RepackLimits::default() };
    for left in [13, 5] {
        let collected = maintain(&repository, one);
        assert!((2 * MIB..3 * MIB).contains(&(collected.repacked_bytes as usize)), "{collected:?}");
        assert!(stored_bytes(&repository) < left * MIB);
    }
    assert_eq!(maintain(&repository, one).end, CollectionEnd::Idle);
    for (backup, image) in live.iter().zip(&images) {
        assert!(is_whole(&repository, backup));
        assert!(restore(&repository, backup).unwrap() == image[..2 * MIB]);
    }
}

#[test]
fn what_cannot_be_read_is_told_and_stays() {
    let (memory, repository, _, _) = mostly_dead();
    let pack = memory.keys().into_iter().find(|key| key.contains("/pack/")).unwrap();
    memory.change(&pack, |bytes| bytes[5 * MIB] ^= 1);
    let collected = maintain(&repository, RepackLimits::default());
    assert_eq!(collected.end, CollectionEnd::Finished);
    let [damage] = &collected.warnings[..] else { panic!("{collected:?}") };
    assert!(damage.contains(&pack), "{damage}");
    assert!(memory.keys().contains(&pack));
}

#[test]
fn many_small_objects_become_a_few() {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    let image = |number: u64| text(number, 3 * BLOCK);
    let backups: Vec<Manifest> = (0..70)
        .map(|number| back_up(&repository, &format!("vg0/{number}"), &image(number)).unwrap())
        .collect();
    let count = |kind: &str| memory.keys().iter().filter(|key| key.contains(kind)).count();
    assert_eq!([count("/index/"), count("/pack/")], [70, 0]);
    let collected = maintain(&repository, RepackLimits::default());
    assert!(collected.repacked_bytes > 0, "{collected:?}");
    assert_eq!([count("/index/"), count("/pack/")], [0, 1]);
    for (number, backup) in (0..).zip(&backups) {
        assert!(is_whole(&repository, backup));
        assert!(restore(&repository, backup).unwrap() == image(number));
    }
    assert_eq!(repository.backups(&Filter::default()).unwrap().live.len(), 70);
}

#[test]
fn what_was_stored_twice_is_kept_once() {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    let image = noise(2, 10 * MIB);
    let forgetful = UploadLimits { index_memory_bytes: 0, ..UploadLimits::default() };
    let backups = ["vg0/a", "vg0/b", "vg0/c"]
        .map(|volume| back_up_with(&repository, volume, &image, forgetful).unwrap());
    assert!(stored_bytes(&repository) > 30 * MIB);
    maintain(&repository, RepackLimits { bytes: 0, ..RepackLimits::default() });
    assert!(stored_bytes(&repository) < 11 * MIB);
    for backup in &backups {
        assert!(is_whole(&repository, backup));
    }
}
