//! A held backup stays.

use std::sync::Arc;

use thinmover_repository::{CollectionEnd, Error, Filter, Manifest, Repository};

use super::support::*;

/// The key of a backup's hold.
fn key(backup: &Manifest) -> String {
    let outcome = format!("/{}", backup.id);
    let location = backup.location();
    format!("domain/{}/retention/{}{outcome}.hold", location.domain, location.volume)
}

fn held(error: &Error) -> (&str, &str) {
    let Error::BackupHeld { id, reason } = error else { panic!("{error}") };
    (id, reason)
}

fn with_a_backup() -> (MemoryStore, Repository, Manifest) {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    let backup = back_up(&repository, "vg0/a", &text(1, BLOCK)).unwrap();
    (memory, repository, backup)
}

#[test]
fn a_held_backup_is_deleted_only_once_its_hold_is_lifted() {
    let (memory, repository, backup) = with_a_backup();
    let repository = repository.with_client("edge-7");
    let hold = repository.hold(backup.location(), "audit").unwrap();
    assert_eq!((hold.reason.as_str(), hold.client.as_str()), ("audit", "edge-7"));
    assert!(hold.held_at.is_some());
    let error = repository.delete(&backup).unwrap_err();
    assert_eq!(held(&error), (backup.id.as_str(), "audit"));
    collect(&repository);
    assert!(restore(&repository, &backup).unwrap() == text(1, BLOCK));

    repository.unhold(backup.location()).unwrap();
    assert!(!memory.keys().contains(&key(&backup)));
    let error = repository.unhold(backup.location()).unwrap_err();
    assert!(matches!(error, Error::NotHeld { .. }), "{error}");
    repository.delete(&backup).unwrap();
    assert!(repository.backups(&Filter::default()).unwrap().live.is_empty());
}

#[test]
fn a_hold_is_listed_with_its_backup_at_the_price_of_one_get() {
    let (dir, store) = directory_store();
    let store = RecordingStore::new(store);
    let repository = init(store.clone());
    let plain = back_up(&repository, "vg0/a", &text(1, BLOCK)).unwrap();
    let backup = back_up(&repository, "vg0/b", &text(2, BLOCK)).unwrap();
    let hold = repository.hold(backup.location(), "audit").unwrap();
    store.take();
    let listed = repository.backups(&Filter::default()).unwrap();
    assert_eq!(listed.live.len(), 2);
    assert_eq!(listed.holds, [(backup.id.clone(), hold.clone())].into());
    let mut requests = store.take();
    requests.sort();
    let expected =
        ["get hold", "get outcome", "get outcome", "list ", "list outcome", "list retention"];
    assert_eq!(requests, expected);
    assert_eq!(repository.find(&backup.id[..12]).unwrap().hold, Some(hold));
    assert_eq!(store.take().len(), 5);
    assert_eq!(repository.find(&plain.id).unwrap().hold, None);
    let other = Filter { source: Some("vg0/a".to_owned()), ..Filter::default() };
    assert!(repository.backups(&other).unwrap().holds.is_empty());
    drop(dir);
}

#[test]
fn there_is_one_hold_a_backup() {
    let (memory, repository, backup) = with_a_backup();
    let first = repository.hold(backup.location(), "audit").unwrap();
    let bytes = memory.bytes(&key(&backup));
    let again = repository.clone().with_client("another").hold(backup.location(), "audit").unwrap();
    assert_eq!(again, first, "who holds it for the same reason finds the hold that stands");
    let error = repository.hold(backup.location(), "migration").unwrap_err();
    assert_eq!(held(&error), (backup.id.as_str(), "audit"));
    assert!(memory.bytes(&key(&backup)) == bytes);
    for reason in ["", "two\nlines"] {
        let error = repository.hold(backup.location(), reason).unwrap_err();
        assert!(matches!(error, Error::InvalidInput(_)), "{error}");
    }
}

#[test]
fn a_backup_that_is_deleted_cannot_be_held() {
    let (memory, repository, backup) = with_a_backup();
    repository.delete(&backup).unwrap();
    for _ in 0..2 {
        let error = repository.hold(backup.location(), "audit").unwrap_err();
        assert!(matches!(error, Error::BackupNotFound { .. }), "{error}");
        assert!(!memory.keys().contains(&key(&backup)), "nothing is left of the attempt");
        // The second time there is nothing of the backup.
        collect(&repository);
    }
}

#[test]
fn a_hold_stands_before_its_backup_is_seen_to_be_live() {
    let (_dir, store) = directory_store();
    let store = RecordingStore::new(store);
    let repository = init(store.clone());
    let backup = back_up(&repository, "vg0/a", &text(1, BLOCK)).unwrap();
    store.take();
    repository.hold(backup.location(), "audit").unwrap();
    assert_eq!(store.take(), ["get hold", "create hold", "size tomb", "size outcome"]);
}

#[test]
fn a_hold_that_cannot_be_read_holds() {
    let (memory, repository, backup) = with_a_backup();
    let other = back_up(&repository, "vg0/b", &text(2, BLOCK)).unwrap();
    repository.hold(backup.location(), "audit").unwrap();
    repository.hold(other.location(), "audit").unwrap();
    let elsewhere = memory.bytes(&key(&other));
    let whole = memory.bytes(&key(&backup));
    let mut newer = whole.clone();
    newer[8] = 2;
    let long = vec![0; 1 << 20];
    for bytes in [Vec::new(), whole[..60].to_vec(), elsewhere, newer, long] {
        memory.change(&key(&backup), |hold| *hold = bytes);
        let listed = repository.backups(&Filter::default()).unwrap();
        assert_eq!(listed.live.len(), 2);
        let hold = &listed.holds[&backup.id];
        assert_eq!((hold.reason.as_str(), hold.held_at), ("cannot be read", None));
        let error = repository.delete(&backup).unwrap_err();
        assert_eq!(held(&error), (backup.id.as_str(), "cannot be read"));
        assert!(repository.hold(backup.location(), "audit").is_err());
    }
    repository.unhold(backup.location()).unwrap();
    repository.delete(&backup).unwrap();
}

#[test]
fn a_backup_that_cannot_be_read_is_held_as_well() {
    let (memory, repository, backup) = with_a_backup();
    let outcome = key(&backup).replace("/retention/", "/outcome/").replace(".hold", "");
    memory.change(&outcome, |bytes| bytes[60] ^= 1);
    let found = repository.find(&backup.id).unwrap();
    repository.hold(found.location, "audit").unwrap();
    let found = repository.find(&backup.id).unwrap();
    assert_eq!(found.hold.unwrap().reason, "audit");
    let error = repository.delete_damaged(&found.manifest.unwrap_err()).unwrap_err();
    assert_eq!(held(&error), (backup.id.as_str(), "audit"));
    assert!(repository.backups(&Filter::default()).unwrap().holds.contains_key(&backup.id));
}

/// A hold and a tomb that crossed.
#[test]
fn what_is_deleted_though_it_is_held_goes_with_its_hold() {
    let (memory, repository, backup) = with_a_backup();
    repository.hold(backup.location(), "audit").unwrap();
    memory.put(&key(&backup).replace(".hold", ".tomb"), Vec::new());
    assert!(repository.backups(&Filter::default()).unwrap().live.is_empty());
    assert_eq!(collect(&repository).end, CollectionEnd::Finished);
    assert!(!memory.keys().iter().any(|key| key.contains("/retention/")), "{:?}", memory.keys());
}

#[test]
fn a_hold_that_comes_late_goes_with_the_next_collection_and_others_stay() {
    let (memory, repository, backup) = with_a_backup();
    repository.hold(backup.location(), "audit").unwrap();
    let late = memory.remove(&key(&backup));
    let kept = back_up(&repository, "vg0/b", &text(2, BLOCK)).unwrap();
    repository.hold(kept.location(), "audit").unwrap();
    repository.delete(&backup).unwrap();
    collect(&repository);
    assert_eq!(collect(&repository).end, CollectionEnd::Idle);
    memory.put(&key(&backup), late);
    assert_eq!(collect(&repository).end, CollectionEnd::Finished);
    let left: Vec<_> =
        memory.keys().into_iter().filter(|key| key.contains("/retention/")).collect();
    assert_eq!(left, [key(&kept)]);
    assert_eq!(collect(&repository).end, CollectionEnd::Idle);
    assert_eq!(held(&repository.delete(&kept).unwrap_err()).1, "audit");
}

/// Two that hold a backup at once: the second to create finds the first one's.
#[test]
fn of_two_that_hold_it_at_once_one_is_told_of_the_other() {
    let (memory, repository, backup) = with_a_backup();
    let another = repository.clone();
    let location = backup.location();
    let store = FaultyStore::new(Arc::new(memory.clone()), move |verb, key| {
        if verb == "create" && key.ends_with(".hold") {
            another.hold(location, "audit").unwrap();
        }
        None
    });
    let slow = Repository::open(Arc::new(store), &passphrase()).unwrap();
    let error = slow.hold(backup.location(), "migration").unwrap_err();
    assert_eq!(held(&error), (backup.id.as_str(), "audit"));
}
