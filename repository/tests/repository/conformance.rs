//! What every store must do; each store runs all of it. What a bucket cannot do stands in
//! [`Traits`].

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Barrier};

use thinmover_repository::store::{Creation, RangeBuffer, Store, StoreErrorKind, StoreResult};

use super::support::server::{Kind, Server};
use super::support::{
    FaultyStore, MemoryStore, RecordingStore, bucket_options, directory_store, noise, open_bucket,
};

/// What differs between stores.
#[derive(Clone, Copy)]
struct Traits {
    /// An object is never replaced, whoever creates it and when.
    creates_only_if_absent: bool,
    /// Nor by a writer of a large one.
    writers_see_names: bool,
    deletes_tell: bool,
}

const STRICT: Traits =
    Traits { creates_only_if_absent: true, writers_see_names: true, deletes_tell: true };
const BUCKET: Traits = Traits { writers_see_names: false, deletes_tell: false, ..STRICT };

#[test]
fn a_directory_is_a_store() {
    let (dir, store) = directory_store();
    run(&*store, STRICT);
    drop(dir);
}

#[test]
fn the_store_in_memory_is_one() {
    run(&MemoryStore::default(), STRICT);
}

#[test]
fn wrappers_are_stores() {
    let (_dir, store) = directory_store();
    run(&RecordingStore::new(Arc::new(FaultyStore::new(store, |_, _| None))), STRICT);
}

#[test]
fn a_bucket_that_honours_conditions_is_a_store() {
    let server = Server::start(Kind::Honours);
    let store = open_bucket("a/prefix", &bucket_options(&server));
    assert!(!store.has_conditional_writes(), "nothing is known before the probe");
    run(&*store, BUCKET);
    // Beside it, and at the top.
    run(&*open_bucket("a", &bucket_options(&server)), BUCKET);
    run(&*open_bucket("", &bucket_options(&server)), BUCKET);
}

#[test]
fn a_bucket_that_ignores_conditions_is_found_out_and_a_store_otherwise() {
    let server = Server::start(Kind::Ignores);
    let store = open_bucket("edge-7", &bucket_options(&server));
    run(&*store, Traits { creates_only_if_absent: false, ..BUCKET });
}

fn run(store: &dyn Store, traits: Traits) {
    what_is_created_is_read(store);
    ranges_are_exact(store);
    if traits.creates_only_if_absent {
        an_object_is_never_replaced(store, traits);
        one_of_many_creates_it(store);
    }
    a_dropped_writer_leaves_nothing(store);
    listings_are_complete(store);
    what_is_deleted_is_gone(store, traits);
    keys_are_checked(store);
    the_probe_tells_and_leaves_nothing(store, traits);
}

fn the_probe_tells_and_leaves_nothing(store: &dyn Store, traits: Traits) {
    assert_eq!(store.probe_conditional_writes().unwrap(), traits.creates_only_if_absent);
    assert_eq!(store.has_conditional_writes(), traits.creates_only_if_absent);
    assert!(list(store, "probe/").is_empty());
}

fn kind<T: std::fmt::Debug>(result: StoreResult<T>) -> StoreErrorKind {
    result.unwrap_err().kind
}

fn write(store: &dyn Store, key: &str, bytes: &[u8], step: usize) -> Creation {
    let mut writer = store.writer(key, 3).unwrap();
    bytes.chunks(step).for_each(|piece| writer.append(piece).unwrap());
    writer.finish().unwrap()
}

fn what_is_created_is_read(store: &dyn Store) {
    // A bucket's parts are of 6 MiB.
    let (large, parts) = (noise(1, 2_500_000), noise(2, 20 << 20));
    for (key, bytes) in [
        ("read/empty", &b""[..]),
        ("read/a/b/c", b"small"),
        ("read/large", &large),
        ("read/part", &parts[..6 << 20]),
        ("read/parts", &parts),
    ] {
        assert_eq!(kind(store.get(key, 1 << 30)), StoreErrorKind::NotFound);
        assert_eq!(kind(store.size(key)), StoreErrorKind::NotFound);
        assert_eq!(store.create(key, bytes).unwrap(), Creation::Created);
        assert_eq!(write(store, &format!("{key}-written"), bytes, 70_000), Creation::Created);
        for key in [key.to_owned(), format!("{key}-written")] {
            assert_eq!(store.size(&key).unwrap(), bytes.len() as u64);
            assert!(store.get(&key, bytes.len() as u64).unwrap() == bytes);
        }
    }
    assert_eq!(kind(store.get("read/a/b/c", 4)), StoreErrorKind::TooLarge);
}

fn ranges_are_exact(store: &dyn Store) {
    store.create("range/a", b"0123456789").unwrap();
    let mut out = RangeBuffer::default();
    out.room(21).copy_from_slice(b"what was there before");
    store.get_range("range/a", 3..7, &mut out).unwrap();
    assert_eq!(&*out, b"3456");
    store.get_range("range/a", 0..10, &mut out).unwrap();
    assert_eq!(&*out, b"0123456789");
    store.get_range("range/a", 10..10, &mut out).unwrap();
    assert!(out.is_empty());
    for range in [9..11, 11..12, 0..u64::MAX] {
        assert_eq!(kind(store.get_range("range/a", range, &mut out)), StoreErrorKind::TooShort);
    }
    assert_eq!(kind(store.get_range("range/b", 0..1, &mut out)), StoreErrorKind::NotFound);
}

fn an_object_is_never_replaced(store: &dyn Store, traits: Traits) {
    store.create("once/a", b"first").unwrap();
    assert_eq!(store.create("once/a", b"second").unwrap(), Creation::AlreadyExists);
    assert_eq!(write(store, "once/a", b"third", 2), Creation::AlreadyExists);
    assert_eq!(store.get("once/a", 100).unwrap(), b"first");
    if traits.writers_see_names {
        let large = noise(3, 9 << 20);
        assert_eq!(write(store, "once/a", &large, 1 << 20), Creation::AlreadyExists);
        assert_eq!(store.get("once/a", 100).unwrap(), b"first");
    }
}

fn a_dropped_writer_leaves_nothing(store: &dyn Store) {
    for bytes in [b"some".to_vec(), noise(1, 18 << 20)] {
        let mut writer = store.writer("dropped/a", 100).unwrap();
        writer.append(&bytes).unwrap();
        assert_eq!(kind(store.size("dropped/a")), StoreErrorKind::NotFound);
        drop(writer);
        assert_eq!(kind(store.size("dropped/a")), StoreErrorKind::NotFound);
        assert!(list(store, "dropped/").is_empty());
    }
    assert_eq!(store.create("dropped/a", b"").unwrap(), Creation::Created);
}

fn list(store: &dyn Store, prefix: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    store
        .list(prefix, &mut |entry| {
            assert_eq!(found.insert(entry.key, entry.size_bytes), None, "listed twice");
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

fn listings_are_complete(store: &dyn Store) {
    for (key, length) in [("list/a", 1), ("list/b/c", 2), ("list/b/d/e", 3), ("list-b/f", 4)] {
        store.create(key, &vec![0; length]).unwrap();
    }
    let expect = |prefix, keys: &[(&str, u64)]| {
        let keys = keys.iter().map(|(key, length)| ((*key).to_owned(), *length)).collect();
        assert_eq!(list(store, prefix), keys);
    };
    expect("list/", &[("list/a", 1), ("list/b/c", 2), ("list/b/d/e", 3)]);
    expect("list/b/", &[("list/b/c", 2), ("list/b/d/e", 3)]);
    expect("list/none/", &[]);
    assert!(list(store, "").len() >= 4);
    assert_eq!(store.list_folders("list/").unwrap(), ["b"]);
    assert!(store.list_folders("none/").unwrap().is_empty());
    let mut shown = 0;
    store
        .list("list/", &mut |_| {
            shown += 1;
            ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!(shown, 1);
}

fn what_is_deleted_is_gone(store: &dyn Store, traits: Traits) {
    store.create("delete/a", b"1").unwrap();
    store.delete("delete/a").unwrap();
    assert_eq!(kind(store.get("delete/a", 1)), StoreErrorKind::NotFound);
    match store.delete("delete/a") {
        Ok(()) => assert!(!traits.deletes_tell),
        gone => assert_eq!(kind(gone), StoreErrorKind::NotFound),
    }
    assert!(list(store, "delete/").is_empty());
}

fn keys_are_checked(store: &dyn Store) {
    for key in ["", "/etc/passwd", "a/../../b", "..", "a//b", "a/", ".hidden", "A"] {
        assert_eq!(kind(store.create(key, b"")), StoreErrorKind::InvalidKey, "{key}");
        assert_eq!(kind(store.writer(key, 0).map(drop)), StoreErrorKind::InvalidKey, "{key}");
        assert_eq!(kind(store.get(key, 1)), StoreErrorKind::InvalidKey, "{key}");
        assert_eq!(kind(store.delete(key)), StoreErrorKind::InvalidKey, "{key}");
    }
    for prefix in ["../", "/", "a"] {
        let listed = store.list(prefix, &mut |_| ControlFlow::Continue(()));
        assert_eq!(kind(listed), StoreErrorKind::InvalidKey, "{prefix}");
    }
}

fn one_of_many_creates_it(store: &dyn Store) {
    const RACERS: u8 = 2;
    for round in 0..50 {
        let key = format!("race/{round}/a");
        let barrier = Barrier::new(RACERS.into());
        let winners: Vec<u8> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS)
                .map(|racer| {
                    let (key, barrier) = (&key, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        let creation = store.create(key, &[racer; 1000]).unwrap();
                        (creation == Creation::Created).then_some(racer)
                    })
                })
                .collect();
            racers.into_iter().filter_map(|racer| racer.join().unwrap()).collect()
        });
        assert_eq!(winners.len(), 1);
        assert_eq!(store.get(&key, 1000).unwrap(), [winners[0]; 1000]);
    }
}
