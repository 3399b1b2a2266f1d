//! A host that may not delete: it backs up and restores, and another identity maintains.

use std::sync::Arc;

use thinmover_repository::store::StoreErrorKind;
use thinmover_repository::{CollectionEnd, Repository};

use super::support::*;

#[test]
fn a_host_that_may_not_delete_leaves_nothing_that_keeps_maintenance_from_its_work() {
    let memory = MemoryStore::default();
    let whole = init(memory.clone());
    let store = FaultyStore::new(Arc::new(memory.clone()), |verb, _| {
        (verb == "delete").then_some(Fault::Before(StoreErrorKind::PermissionDenied))
    });
    let host = Repository::open(Arc::new(store), &passphrase()).unwrap();
    let image = noise(1, 3 * BLOCK);
    let backup = back_up(&host, "vg0/a", &image).unwrap();
    let kept = back_up(&host, "vg0/b", &text(2, BLOCK)).unwrap();
    assert!(restore(&host, &backup).unwrap() == image);
    assert!(is_whole(&host, &backup));
    let readers = || memory.keys().into_iter().filter(|key| key.contains("/reader/")).count();
    assert_eq!(readers(), 4, "two marks, and that both are over");
    assert!(whole.sessions().unwrap().is_empty());

    host.delete(&backup).unwrap();
    let collected = collect(&whole);
    assert_eq!((collected.end, collected.deleted_containers), (CollectionEnd::Finished, 1));
    assert_eq!(readers(), 0);

    assert!(restore(&host, &kept).unwrap() == text(2, BLOCK));
    assert_eq!(readers(), 2);
    assert_eq!(collect(&whole).end, CollectionEnd::Idle);
    assert_eq!(readers(), 0);
    assert!(is_whole(&whole, &kept));
}
