//! Which backups are shown.

use std::sync::Arc;

use thinmover_repository::{Domain, Error, Filter, Repository};

use super::support::*;

#[test]
fn filters_must_all_agree() {
    let (_dir, repository) = directory_repository();
    back_up(&repository, "vg0/a", &text(1, BLOCK)).unwrap();
    back_up(&repository, "vg0/b", &text(1, BLOCK)).unwrap();
    let names = |filter: Filter| -> Vec<String> {
        let mut names: Vec<_> =
            repository.backups(&filter).unwrap().live.into_iter().map(|b| b.source.name).collect();
        names.sort();
        names
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(names(Filter::default()), ["vg0/a", "vg0/b"]);
    assert_eq!(names(Filter { source: some("vg0/b"), ..Filter::default() }), ["vg0/b"]);
    assert_eq!(names(Filter { host: some("host-1"), ..Filter::default() }).len(), 2);
    assert!(names(Filter { host: some("host-2"), ..Filter::default() }).is_empty());
    let domain = |name: &str| Filter { domain: Some(Domain(name.into())), ..Filter::default() };
    assert_eq!(names(domain("host-1")).len(), 2);
    assert!(names(domain("host-2")).is_empty());
    let none = Filter { host: some("host-2"), source: some("vg0/a"), domain: None, volume: None };
    assert!(names(none).is_empty());
}

#[test]
fn an_id_is_found_by_any_prefix_that_is_its_alone() {
    let (_dir, repository) = directory_repository();
    let backups: Vec<_> =
        (0..17).map(|_| back_up(&repository, "vg0/a", &text(1, BLOCK)).unwrap()).collect();
    for backup in &backups {
        assert_eq!(repository.backup(&backup.id).unwrap(), *backup);
    }
    // Of seventeen ids two begin with the same hex digit.
    let ambiguous = "0123456789abcdef"
        .chars()
        .filter(|digit| {
            let found = repository.backup(&digit.to_string());
            matches!(found, Err(Error::AmbiguousBackup { matches, .. }) if matches > 1)
        })
        .count();
    assert!(ambiguous >= 1);
    for id in ["", "zz", "../x", &"0".repeat(33)] {
        assert!(matches!(repository.backup(id), Err(Error::BackupNotFound { .. })), "{id:?}");
    }
}

#[test]
fn a_damaged_manifest_hides_no_other_and_can_be_deleted() {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    let whole = back_up(&repository, "vg0/a", &text(1, BLOCK)).unwrap();
    let broken = back_up(&repository, "vg0/b", &text(1, BLOCK)).unwrap();
    let key =
        memory.keys().into_iter().find(|k| k.contains("/outcome/") && k.ends_with(&broken.id));
    memory.change(&key.unwrap(), |bytes| bytes[60] ^= 1);
    let backups = repository.backups(&Filter::default()).unwrap();
    assert_eq!(backups.live, [whole]);
    assert_eq!(backups.damaged.len(), 1);
    assert_eq!(backups.damaged[0].id(), broken.id);
    assert!(matches!(repository.backup(&broken.id), Err(Error::Damaged { .. })));
    let found = repository.find(&broken.id[..8]).unwrap().manifest.unwrap_err();
    assert_eq!(found.id(), broken.id);
    repository.delete_damaged(&found).unwrap();
    assert!(repository.backups(&Filter::default()).unwrap().damaged.is_empty());
}

#[test]
fn an_outcome_moved_elsewhere_does_not_open() {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    let first = back_up(&repository, "vg0/a", &text(1, BLOCK)).unwrap();
    let second = back_up(&repository, "vg0/b", &text(2, BLOCK)).unwrap();
    let key = |id: &str| {
        memory.keys().into_iter().find(|k| k.contains("/outcome/") && k.ends_with(id)).unwrap()
    };
    let bytes = memory.bytes(&key(&first.id));
    memory.change(&key(&second.id), |target| *target = bytes);
    assert!(matches!(repository.backup(&second.id), Err(Error::Damaged { .. })));
    assert_eq!(repository.backup(&first.id).unwrap(), first);
}

#[test]
fn a_digest_says_of_listed_backups_what_they_say_themselves() {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    let all: Vec<_> = (0..20)
        .map(|number| back_up(&repository, "vg0/a", &text(number, BLOCK)).unwrap())
        .collect();
    back_up(&repository, "vg0/b", &text(99, BLOCK)).unwrap();
    let listed = |repository: &Repository| repository.backups(&Filter::default()).unwrap().live;
    let before = listed(&repository);
    let digests = || -> Vec<String> {
        memory.keys().into_iter().filter(|key| key.contains("/digest.")).collect()
    };
    assert_eq!(collect(&repository).digests, 1);
    assert_eq!(digests().len(), 1);
    assert_eq!(listed(&repository), before);
    assert_eq!(repository.status().unwrap().backups, 21);
    assert_eq!(collect(&repository).digests, 0, "there is nothing new");

    // It is read instead of the manifests, and only of what is listed.
    let recording = RecordingStore::new(Arc::new(memory.clone()));
    let recorded = Repository::open(Arc::new(recording.clone()), &passphrase()).unwrap();
    recording.take();
    assert_eq!(listed(&recorded), before);
    assert_eq!(recording.take().iter().filter(|it| it.starts_with("get")).count(), 2);
    for backup in &all[..15] {
        repository.delete(backup).unwrap();
    }
    assert_eq!(listed(&repository).len(), 6);
    let old = digests();
    assert_eq!(collect(&repository).digests, 1, "most of what it says is dead");
    assert_ne!(digests(), old);
    assert_eq!(listed(&repository).len(), 6);

    let digest = digests().remove(0);
    memory.change(&digest, |bytes| bytes[60] ^= 1);
    let damaged = repository.backups(&Filter::default()).unwrap();
    assert_eq!((damaged.live.len(), damaged.damaged.len()), (6, 0), "it is only a help");
    for backup in listed(&repository) {
        repository.delete(&backup).unwrap();
    }
    collect(&repository);
    assert_eq!(digests(), Vec::<String>::new());
}
