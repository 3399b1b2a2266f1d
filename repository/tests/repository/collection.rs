//! What maintenance gives back, and what it leaves alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use thinmover_repository::{CollectionEnd, Error, Filter, ReadLimits, Repository, UploadLimits};

use super::support::server::{Kind, Server};
use super::support::*;

/// Keys of one kind, e.g. `pack`.
fn keys(memory: &MemoryStore, kind: &str) -> BTreeSet<String> {
    let kind = format!("/{kind}/");
    memory.keys().into_iter().filter(|key| key.contains(&kind)).collect()
}

/// A pack of blocks and one of nodes, as a large volume has.
fn packed() -> UploadLimits {
    UploadLimits { embedded_bytes: 0, ..UploadLimits::default() }
}

#[test]
fn what_a_deleted_backup_alone_reached_is_given_back() {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    let (shared, own, kept) = (noise(1, 4 * BLOCK), noise(2, 8 * BLOCK), noise(3, 2 * BLOCK));
    back_up_with(&repository, "vg0/a", &shared, packed()).unwrap();
    let deleted =
        back_up_with(&repository, "vg0/b", &[&shared[..], &own].concat(), packed()).unwrap();
    let live =
        back_up_with(&repository, "vg0/c", &[&shared[..], &kept].concat(), packed()).unwrap();
    let before = repository.status().unwrap().stored_bytes;
    repository.delete(&deleted).unwrap();
    assert!(repository.status().unwrap().stored_bytes >= before, "a mark gives nothing back");

    let collected = collect(&repository);
    assert_eq!(collected.end, CollectionEnd::Finished);
    assert_eq!((collected.deleted_containers, collected.merged_indexes), (2, 3));
    assert!(collected.deleted_bytes > own.len() as u64, "{collected:?}");
    let after = repository.status().unwrap().stored_bytes;
    assert!(after + own.len() as u64 <= before, "{before} to {after}");
    assert!(is_whole(&repository, &live));
    assert!(restore(&repository, &live).unwrap() == [&shared[..], &kept].concat());
    assert_eq!(repository.backups(&Filter::default()).unwrap().live.len(), 2);
    for kind in ["session", "retention", "index"] {
        assert_eq!(keys(&memory, kind), BTreeSet::new(), "{kind}");
    }
    assert_eq!([keys(&memory, "gen").len(), keys(&memory, "compacted").len()], [1, 1]);
    assert_eq!(collect(&repository).end, CollectionEnd::Idle);

    let again = back_up(&repository, "vg0/d", &[&shared[..], &own].concat()).unwrap();
    assert!(again.stored_bytes > own.len() as u64, "what is gone is stored again");
    assert!(again.new_bytes < (own.len() + BLOCK) as u64, "and what is there is not");
    assert!(is_whole(&repository, &again));
}

#[test]
fn what_was_collected_leaves_no_key_behind() {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    for volume in ["vg0/a", "vg0/b"] {
        let backup = back_up(&repository, volume, &noise(1, 3 * BLOCK)).unwrap();
        repository.delete(&backup).unwrap();
    }
    for _ in 0..3 {
        collect(&repository);
    }
    // An ack goes only once nothing of its session was listed.
    back_up(&repository, "vg0/c", &noise(2, BLOCK)).unwrap();
    collect(&repository);
    let kinds = ["session", "retention", "reader", "index", "ack", "gen", "compacted", "outcome"];
    let counts = kinds.map(|kind| keys(&memory, kind).len());
    assert_eq!(counts, [0, 0, 0, 1, 1, 1, 1, 1], "{:?}", memory.keys());
}

#[test]
fn an_upload_under_way_is_waited_for_or_kept_from_its_commit() {
    let (_dir, repository) = directory_repository();
    let deleted = back_up_with(&repository, "vg0/a", &noise(1, BLOCK), packed()).unwrap();
    repository.delete(&deleted).unwrap();
    let upload = begin(&repository, "vg0/b");
    let waiting = collect(&repository);
    assert_eq!(waiting.end, CollectionEnd::Waiting { sessions: vec![upload.id()] });
    assert_eq!(waiting.deleted_containers, 0);
    let image = noise(1, BLOCK);
    let live = commit_image(upload, "vg0/b", &image).unwrap();
    assert!(is_whole(&repository, &live), "it may use what is condemned by nobody");
    assert_eq!(collect(&repository).deleted_containers, 0, "it does");

    let upload = begin(&repository, "vg0/c");
    let collected = collect_with(&repository, true).unwrap();
    assert_eq!(collected.fenced, [upload.id()]);
    let error = commit_image(upload, "vg0/c", &image).unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error}");
    assert!(is_whole(&repository, &live));
}

#[test]
fn what_is_read_stays_until_it_has_been_read() {
    let (_dir, repository) = directory_repository();
    let backup = back_up_with(&repository, "vg0/a", &noise(1, 4 * BLOCK), packed()).unwrap();
    let image = repository.image(&backup, ReadLimits::default()).unwrap();
    assert!(image.is_marked());
    repository.delete(&backup).unwrap();
    assert_eq!(collect(&repository).deleted_containers, 0);
    let window = image.walk().next_window(4).unwrap().unwrap();
    assert_eq!(image.plan(&window).unwrap().len(), 1);
    drop(image);
    assert_eq!(collect(&repository).deleted_containers, 2);
    let error = repository.image(&backup, ReadLimits::default()).unwrap_err();
    assert!(matches!(error, Error::BackupNotFound { .. }), "{error}");
}

#[test]
fn a_damaged_backup_stops_collection_until_it_is_deleted() {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    let deleted = back_up_with(&repository, "vg0/a", &noise(1, BLOCK), packed()).unwrap();
    repository.delete(&deleted).unwrap();
    let damaged = back_up_with(&repository, "vg0/b", &noise(2, BLOCK), packed()).unwrap();
    let outcome = keys(&memory, "outcome").into_iter().find(|key| key.contains(&damaged.id));
    memory.change(&outcome.unwrap(), |bytes| bytes[60] ^= 1);
    let packs = keys(&memory, "pack");
    let error = collect_with(&repository, false).unwrap_err();
    assert!(matches!(error, Error::CollectionBlocked { .. }), "{error}");
    assert!(error.to_string().contains(&damaged.id), "{error}");
    assert_eq!(keys(&memory, "pack"), packs, "nothing was deleted");
    let found = repository.find(&damaged.id).unwrap();
    repository.delete_damaged(&found.manifest.unwrap_err()).unwrap();
    assert_eq!(collect(&repository).deleted_containers, 4);
}

#[test]
fn a_lost_object_stops_collection() {
    for kind in ["pack", "index"] {
        let memory = MemoryStore::default();
        let repository = init(memory.clone());
        let deleted = back_up_with(&repository, "vg0/a", &noise(1, BLOCK), packed()).unwrap();
        repository.delete(&deleted).unwrap();
        collect(&repository);
        let packs = keys(&memory, "pack");
        back_up_with(&repository, "vg0/b", &noise(2, 3 * BLOCK), packed()).unwrap();
        let lost = keys(&memory, kind).difference(&packs).next().cloned().unwrap();
        let bytes = memory.remove(&lost);
        let deleted = back_up_with(&repository, "vg0/c", &noise(3, BLOCK), packed()).unwrap();
        repository.delete(&deleted).unwrap();
        let before = keys(&memory, "pack");
        let error = collect_with(&repository, false).unwrap_err();
        assert!(matches!(error, Error::CollectionBlocked { .. }), "{kind}: {error}");
        assert_eq!(keys(&memory, "pack"), before, "{kind}");
        memory.put(&lost, bytes);
        assert_eq!(collect(&repository).end, CollectionEnd::Finished, "{kind}");
    }
}

#[test]
fn without_an_atomic_create_nobody_is_kept_from_a_commit() {
    let memory = MemoryStore::unconditional();
    let repository = init(memory);
    let upload = begin(&repository, "vg0/a");
    let collected = collect_with(&repository, true).unwrap();
    assert_eq!(collected.end, CollectionEnd::Waiting { sessions: vec![upload.id()] });
    let backup = commit_image(upload, "vg0/a", &noise(1, BLOCK)).unwrap();
    assert!(is_whole(&repository, &backup));
}

#[test]
fn many_small_indexes_become_one() {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    let backups: Vec<_> = (0..10)
        .map(|seed| back_up_with(&repository, "vg0/a", &noise(seed, BLOCK), packed()).unwrap())
        .collect();
    assert_eq!(keys(&memory, "index").len(), 10);
    assert_eq!(collect(&repository).merged_indexes, 10);
    assert_eq!([keys(&memory, "index").len(), keys(&memory, "compacted").len()], [0, 1]);
    let recording = RecordingStore::new(Arc::new(memory));
    let repository = Repository::open(Arc::new(recording.clone()), &passphrase()).unwrap();
    recording.take();
    back_up_with(&repository, "vg0/b", &noise(3, BLOCK), packed()).unwrap();
    let gets = recording.take().into_iter().filter(|request| request.starts_with("get")).count();
    assert_eq!(gets, 2, "the generation and the compacted index");
    assert!(backups.iter().all(|backup| is_whole(&repository, backup)));
}

#[test]
fn a_bucket_gives_back_what_was_deleted() {
    for kind in [Kind::Honours, Kind::Ignores] {
        let server = Server::start(kind);
        let repository =
            Repository::init(open_bucket("r", &bucket_options(&server)), &cheap(), &passphrase())
                .unwrap();
        let (gone, kept) = (noise(1, 10 << 20), noise(2, BLOCK));
        let deleted = back_up(&repository, "vg0/a", &gone).unwrap();
        let live = back_up(&repository, "vg0/b", &kept).unwrap();
        let before = repository.status().unwrap().stored_bytes;
        repository.delete(&deleted).unwrap();
        let upload = begin(&repository, "vg0/c");
        let collected = collect_with(&repository, true).unwrap();
        if kind == Kind::Honours {
            assert_eq!(collected.fenced, [upload.id()]);
        } else {
            // A fence could be overwritten: nobody but the upload itself ends it.
            assert_eq!(collected.end, CollectionEnd::Waiting { sessions: vec![upload.id()] });
            drop(upload);
            collect(&repository);
        }
        let after = repository.status().unwrap().stored_bytes;
        assert!(after + (10 << 20) <= before, "{before} to {after}");
        assert!(is_whole(&repository, &live));
        assert_eq!(repository.backups(&Filter::default()).unwrap().live, [live]);
    }
}
