//! A store that fails at any one request: the upload ends with an error or is whole, never between.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use thinmover_repository::store::StoreErrorKind;
use thinmover_repository::{Filter, Repository, UploadLimits};

use super::support::*;

/// Packs, several index objects, all the marks.
fn upload(repository: &Repository) -> thinmover_repository::Result<thinmover_repository::Manifest> {
    let limits = UploadLimits { session_entries: 1, ..UploadLimits::default() };
    back_up_with(repository, "vg0/a", &image(), limits)
}

fn image() -> Vec<u8> {
    [noise(1, 5 << 20), text(2, 3 * BLOCK)].concat()
}

/// Fails the `n`-th request that is not part of opening the repository.
fn failing_at(store: Arc<dyn thinmover_repository::Store>, n: usize, fault: Fault) -> FaultyStore {
    let count = AtomicUsize::new(0);
    FaultyStore::new(store, move |_, key| {
        let is_upload = key.starts_with("domain/");
        (is_upload && count.fetch_add(1, Ordering::Relaxed) == n).then_some(fault)
    })
}

#[test]
fn a_failure_at_any_request_leaves_whole_backups_or_none() {
    use StoreErrorKind::{NoSpace, Other, PermissionDenied};
    let faults = [
        Fault::Before(NoSpace),
        Fault::Before(PermissionDenied),
        Fault::Before(Other),
        Fault::After(Other),
        Fault::Midway(NoSpace),
    ];
    for fault in faults {
        let mut requests = 0;
        let mut failed = 0;
        loop {
            let (dir, store) = directory_store();
            let repository = Repository::init(Arc::clone(&store), &cheap(), &passphrase()).unwrap();
            let failing = failing_at(Arc::clone(&store), requests, fault);
            let reached = {
                let repository = Repository::open(Arc::new(failing), &passphrase()).unwrap();
                let result = upload(&repository);
                if let Err(error) = &result {
                    failed += 1;
                    let is_no_space =
                        matches!(fault, Fault::Before(NoSpace) | Fault::Midway(NoSpace));
                    assert_eq!(error.is_no_space(), is_no_space, "{error}");
                }
                result
            };
            let listed = repository.backups(&Filter::default()).unwrap();
            assert!(listed.damaged.is_empty());
            for backup in &listed.live {
                assert!(is_whole(&repository, backup), "{fault:?} at request {requests}");
                assert!(restore(&repository, backup).unwrap() == image());
            }
            if let Ok(backup) = &reached {
                assert_eq!(listed.live, std::slice::from_ref(backup));
            } else if fault != Fault::After(Other) {
                assert!(listed.live.is_empty(), "{fault:?} at request {requests}");
            }
            assert!(!leaves_temporary_files(dir.path()));
            let again = upload(&repository).unwrap();
            assert!(is_whole(&repository, &again), "what a failed upload left does no harm");
            requests += 1;
            // Past the last request nothing fails: session, 2 gen, index, packs and indexes,
            // outcome, ack.
            if requests > 12 {
                break;
            }
        }
        assert!(failed >= 6, "{fault:?} failed only {failed} uploads");
    }
}

fn leaves_temporary_files(path: &std::path::Path) -> bool {
    path.read_dir().unwrap().any(|entry| {
        let entry = entry.unwrap();
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        is_hidden || entry.path().is_dir() && leaves_temporary_files(&entry.path())
    })
}

#[test]
fn a_lost_ack_is_still_a_backup() {
    let memory = MemoryStore::default();
    let store = FaultyStore::new(Arc::new(memory.clone()), |verb, key| {
        let is_ack = verb == "create" && key.contains("/ack/");
        is_ack.then_some(Fault::Before(StoreErrorKind::Other))
    });
    let repository = init(store);
    let backup = upload(&repository).unwrap();
    assert!(is_whole(&repository, &backup));
}

#[test]
fn a_failing_read_is_an_error_and_not_damage() {
    let memory = MemoryStore::default();
    let backup = upload(&init(memory.clone())).unwrap();
    let failing = FaultyStore::new(Arc::new(memory), |verb, key| {
        let is_index = verb == "get" && key.contains("/index/");
        is_index.then_some(Fault::Before(StoreErrorKind::PermissionDenied))
    });
    let repository = Repository::open(Arc::new(failing), &passphrase()).unwrap();
    let error = restore(&repository, &backup).unwrap_err();
    assert!(matches!(error, thinmover_repository::Error::Store(_)), "{error}");
}
