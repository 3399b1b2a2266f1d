//! The order of requests, which is what the commit's safety rests on.

use std::sync::Arc;

use thinmover_repository::store::StoreErrorKind;
use thinmover_repository::{Domain, Error, Repository, UploadLimits, VolumeKey};

use super::support::*;

fn recorded() -> (RecordingStore, Repository, tempfile::TempDir) {
    let (dir, store) = directory_store();
    let store = RecordingStore::new(store);
    let repository = init(store.clone());
    store.take();
    (store, repository, dir)
}

const BEGIN: [&str; 4] = ["create session", "list gen", "list gen", "list index"];

#[test]
fn init_creates_the_config_last() {
    let (_dir, store) = directory_store();
    let store = RecordingStore::new(store);
    init(store.clone());
    assert_eq!(store.take(), ["list ", "create slot", "create config"]);
}

#[test]
fn a_small_upload_is_one_object_beside_its_marks_and_manifest() {
    let (store, repository, _dir) = recorded();
    back_up(&repository, "vg0/a", &[noise(1, 3 << 20), text(1, BLOCK)].concat()).unwrap();
    let mut expected = BEGIN.to_vec();
    expected.extend(["create index", "create outcome", "create ack"]);
    assert_eq!(store.take(), expected);
}

#[test]
fn an_unchanged_volume_stores_only_its_manifest() {
    let (store, repository, _dir) = recorded();
    let image = [noise(1, BLOCK), text(1, BLOCK)].concat();
    let first = back_up(&repository, "vg0/a", &image).unwrap();
    store.take();
    let second = back_up(&repository, "vg0/a", &image).unwrap();
    let requests: Vec<_> = store.take().into_iter().filter(|r| !r.starts_with("get")).collect();
    let mut expected = BEGIN.to_vec();
    expected.extend(["create outcome", "create ack"]);
    assert_eq!(requests, expected);
    assert_eq!((second.new_bytes, second.stored_bytes), (0, 0));
    assert_eq!(second.image, first.image);
    assert_ne!(second.id, first.id);
}

#[test]
fn packs_come_before_the_index_that_names_them_and_all_before_the_manifest() {
    let (store, repository, _dir) = recorded();
    let limits = UploadLimits { session_entries: 600, ..UploadLimits::default() };
    back_up_with(&repository, "vg0/a", &noise(1, 80 << 20), limits).unwrap();
    let requests = store.take();
    assert_eq!(&requests[..4], BEGIN);
    let created: Vec<&str> = requests[4..].iter().map(String::as_str).collect();
    // Two packs of 32 MiB hold more than 600 blocks of 64 KiB: an index of their own.
    let expected = [
        "create pack",
        "create pack",
        "create index",
        "create pack",
        "create index",
        // The tree's nodes, which it carries.
        "create index",
        "create outcome",
        "create ack",
    ];
    assert_eq!(created, expected);
}

#[test]
fn an_upload_dropped_lists_nothing_and_ends_its_session() {
    let (store, repository, _dir) = recorded();
    let (domain, volume) = (Domain("host-1".into()), VolumeKey("v".into()));
    let upload = repository.begin_upload(&domain, &volume, UploadLimits::default()).unwrap();
    let mut packer = upload.packer().unwrap();
    for seed in 0..200 {
        packer.store_block(&noise(seed, BLOCK)).unwrap();
    }
    drop(packer);
    drop(upload);
    let mut expected = BEGIN.to_vec();
    expected.extend(["create outcome", "create ack"]);
    assert_eq!(store.take(), expected, "a pack that was begun is gone, and a fence stands");
    assert!(repository.backups(&Default::default()).unwrap().live.is_empty());
}

#[test]
fn a_commit_without_an_answer_is_told_apart_from_one_that_failed() {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    let back_up_with = |fault| {
        let store = FaultyStore::new(Arc::new(memory.clone()), move |verb, key| {
            (verb == "create" && key.contains("/outcome/")).then_some(fault)
        });
        let host = Repository::open(Arc::new(store), &passphrase()).unwrap();
        back_up(&host, "vg0/a", &text(1, BLOCK)).unwrap_err()
    };
    let listed = || repository.backups(&Default::default()).unwrap().live;
    let error = back_up_with(Fault::Before(StoreErrorKind::NoSpace));
    assert!(matches!(error, Error::Store(_)), "{error}");
    let error = back_up_with(Fault::Before(StoreErrorKind::Other));
    assert!(matches!(error, Error::CommitInDoubt { .. }), "{error}");
    assert!(listed().is_empty());
    let error = back_up_with(Fault::After(StoreErrorKind::Other));
    let Error::CommitInDoubt { id, .. } = &error else { panic!("{error}") };
    assert_eq!(*id, listed()[0].id);
}

#[test]
fn a_delete_is_a_mark_of_its_own() {
    let (store, repository, _dir) = recorded();
    let backup = back_up(&repository, "vg0/a", &text(1, BLOCK)).unwrap();
    store.take();
    repository.delete(&backup).unwrap();
    assert_eq!(store.take(), ["get hold", "create tomb"]);
    assert!(matches!(repository.backup(&backup.id), Err(Error::BackupNotFound { .. })));
    assert!(repository.backups(&Default::default()).unwrap().live.is_empty());
    assert_eq!(repository.status().unwrap().backups, 0);
}

#[test]
fn tombs_are_listed_before_outcomes() {
    let (store, repository, _dir) = recorded();
    back_up(&repository, "vg0/a", &text(1, BLOCK)).unwrap();
    store.take();
    repository.backups(&Default::default()).unwrap();
    assert_eq!(store.take(), ["list ", "list retention", "list outcome", "get outcome"]);
}

#[test]
fn nothing_goes_on_where_a_newer_version_collects() {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    let backup = back_up(&repository, "vg0/a", &text(1, BLOCK)).unwrap();
    let domain = backup.location().domain;
    for key in ["gen/00", "gen/1/3", "index/compacted-1"] {
        let key = format!("domain/{domain}/{key}");
        memory.put(&key, Vec::new());
        let error = back_up(&repository, "vg0/a", &text(2, BLOCK)).unwrap_err();
        assert!(matches!(error, Error::NewerFormat { .. }), "{error}");
        let error = restore(&repository, &backup).unwrap_err();
        assert!(matches!(error, Error::NewerFormat { .. }), "{error}");
        memory.remove(&key);
    }
    assert!(restore(&repository, &backup).unwrap() == text(1, BLOCK));
}

#[test]
fn an_upload_whose_request_is_in_doubt_leaves_its_session_to_collection() {
    let memory = MemoryStore::default();
    let store = FaultyStore::new(Arc::new(memory.clone()), |verb, key| {
        (verb == "create" && key.contains("/pack/"))
            .then_some(Fault::After(thinmover_repository::store::StoreErrorKind::Other))
    });
    back_up(&init(store), "vg0/a", &noise(1, 9 << 20)).unwrap_err();
    let keys = memory.keys();
    assert!(!keys.iter().any(|key| key.contains("/outcome/") || key.contains("/ack/")), "{keys:?}");
}

#[test]
fn a_manifest_that_arrived_twice_is_a_commit_without_an_ack() {
    let memory = MemoryStore::default();
    let store = FaultyStore::new(Arc::new(memory.clone()), |verb, key| {
        (verb == "create" && key.contains("/outcome/")).then_some(Fault::Twice)
    });
    let repository = init(store);
    let backup = back_up(&repository, "vg0/a", &text(1, BLOCK)).unwrap();
    assert!(is_whole(&repository, &backup));
    assert!(!memory.keys().iter().any(|key| key.contains("/ack/")));
}

#[test]
fn an_ack_is_sent_only_if_no_request_is_in_doubt() {
    for fault in [Fault::Twice, Fault::InDoubt] {
        for kind in ["session", "pack", "index", "outcome"] {
            let memory = MemoryStore::default();
            let store = FaultyStore::new(Arc::new(memory.clone()), move |verb, key| {
                (verb == "create" && key.contains(&format!("/{kind}/"))).then_some(fault)
            });
            let repository = init(store);
            back_up(&repository, "vg0/a", &noise(1, 9 << 20)).unwrap();
            // A pack that arrives again is garbage which is found.
            let is_acked = memory.keys().iter().any(|key| key.contains("/ack/"));
            assert_eq!(is_acked, kind == "pack", "{kind} {fault:?}");
        }
    }
}
