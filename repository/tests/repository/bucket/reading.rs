//! Reading and listing: whole, or an error.

use std::ops::ControlFlow;
use std::time::Duration;

use thinmover_repository::store::{RangeBuffer, S3Options, StoreErrorKind};

use super::super::support::lossy::{Line, Loss};
use super::super::support::server::{Kind, Server};
use super::super::support::*;
use super::{Pair, message};

#[test]
fn reads_come_through_whole() {
    let pair = Pair::impatient();
    let bytes = noise(1, 60_000);
    pair.good.create("read/a", &bytes).unwrap();
    let mut out = RangeBuffer::default();
    for loss in [
        Loss::Request,
        Loss::Answer,
        Loss::LateAnswer(Duration::from_secs(2)),
        Loss::Instead(500, "InternalError"),
        Loss::HalfAnswer,
    ] {
        pair.line.lose("get", 1, loss);
        assert!(pair.store.get("read/a", 60_000).unwrap() == bytes, "{loss:?}");
        pair.line.lose("get", 1, loss);
        pair.store.get_range("read/a", 1000..50_000, &mut out).unwrap();
        assert!(*out == bytes[1000..50_000], "{loss:?}");
        let gets = pair.line.actions();
        assert!(gets.len() >= 4 && gets.iter().all(|action| *action == "get"), "{gets:?}");
        pair.line.lose("head", 1, loss);
        assert_eq!(pair.store.size("read/a").unwrap(), 60_000);
        pair.line.lose("list", 1, loss);
        assert_eq!(pair.store.list_folders("").unwrap(), ["read"]);
        pair.line.take();
    }
}

#[test]
fn an_answer_that_is_no_listing_is_an_error_and_not_an_empty_bucket() {
    let pair = Pair::new();
    pair.good.create("a", b"1").unwrap();
    pair.line.plan(|_| Some(Loss::Instead(200, "SlowDown")));
    let told =
        message(pair.store.list("", &mut |_| ControlFlow::Continue(())), StoreErrorKind::Other);
    assert!(told.contains("it is no listing of a bucket"), "{told}");
}

#[test]
fn a_server_that_ignores_ranges_gives_the_range_all_the_same() {
    // The other server would miss the range, which is signed.
    let pair = Pair::with(Server::start(Kind::Ignores), Duration::from_secs(20));
    let bytes = noise(1, 300_000);
    pair.good.create("read/a", &bytes).unwrap();
    pair.line.plan(|_| Some(Loss::Range));
    let mut out = RangeBuffer::default();
    pair.store.get_range("read/a", 1000..200_000, &mut out).unwrap();
    assert!(*out == bytes[1000..200_000]);
    message(pair.store.get_range("read/a", 9..300_001, &mut out), StoreErrorKind::TooShort);
}

#[test]
fn what_is_too_large_is_not_read() {
    let pair = Pair::new();
    pair.good.create("read/a", &noise(1, 300_000)).unwrap();
    message(pair.store.get("read/a", 299_999), StoreErrorKind::TooLarge);
    assert_eq!(pair.line.actions(), ["get"]);
}

#[test]
fn many_objects_are_listed_page_by_page() {
    let server = Server::start(Kind::Ignores);
    let line = Line::to(server.address());
    let good = open_bucket("p", &bucket_options(&server));
    std::thread::scope(|scope| {
        for half in 0..4 {
            let good = &good;
            scope.spawn(move || {
                for n in 0..300 {
                    good.create(&format!("{half}/{n}"), b"1").unwrap();
                }
            });
        }
    });
    let options = S3Options { endpoint: Some(line.url()), ..bucket_options(&server) };
    let store = open_bucket("p", &options);
    let mut found = std::collections::BTreeSet::new();
    store
        .list("", &mut |entry| {
            assert!(found.insert(entry.key));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!((found.len(), line.actions()), (1200, vec!["list"; 2]));
    store.list("", &mut |_| ControlFlow::Break(())).unwrap();
    assert_eq!(line.actions(), ["list"], "no page beyond the one that was enough");
    assert_eq!(store.list_folders("").unwrap(), ["0", "1", "2", "3"]);
}
