//! Creating and deleting: what became of it, also where an answer is missing.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use thinmover_repository::store::{Creation, S3Options, StoreErrorKind};
use thinmover_repository::{Filter, Repository};

use super::super::support::lossy::Loss;
use super::super::support::*;
use super::{Pair, message};

#[test]
fn a_create_that_was_not_answered_is_in_doubt_once_it_succeeds() {
    let (patient, impatient) = (Pair::new(), Pair::impatient());
    let late = Duration::from_millis(2500);
    for (n, loss) in [
        Loss::LateAnswer(late),
        Loss::LateRequest(late),
        Loss::Request,
        Loss::Answer,
        Loss::Instead(500, "InternalError"),
        Loss::Instead(503, "SlowDown"),
        Loss::Instead(400, "RequestTimeout"),
    ]
    .into_iter()
    .enumerate()
    {
        let is_late = matches!(loss, Loss::LateAnswer(_) | Loss::LateRequest(_));
        let pair = if is_late { &impatient } else { &patient };
        for times in [1, 2] {
            let key = format!("create/{n}-{times}");
            pair.line.lose("put", times, loss);
            let creation = pair.store.create(&key, b"ours").unwrap();
            assert_eq!(creation, Creation::CreatedInDoubt, "{loss:?}");
            assert_eq!(pair.good.get(&key, 10).unwrap(), b"ours");
            let puts = pair.line.actions().iter().filter(|action| **action == "put").count();
            assert!(puts == times + 1 || is_late && puts > times, "{loss:?}: {puts}");
        }
    }
}

#[test]
fn a_create_that_was_refused_first_is_not_in_doubt() {
    let pair = Pair::new();
    for (n, loss) in [
        Loss::Instead(409, "ConditionalRequestConflict"),
        Loss::Instead(429, "TooManyRequests"),
        Loss::Instead(400, "BadDigest"),
    ]
    .into_iter()
    .enumerate()
    {
        pair.line.lose("put", 2, loss);
        let creation = pair.store.create(&format!("create/{n}"), b"ours").unwrap();
        assert_eq!(creation, Creation::Created, "{loss:?}");
        assert_eq!(pair.line.actions(), ["put"; 3]);
    }
}

#[test]
fn what_is_in_doubt_can_come_again() {
    let pair = Pair::impatient();
    pair.line.lose("put", 1, Loss::LateRequest(Duration::from_secs(4)));
    assert_eq!(pair.store.create("late/a", b"").unwrap(), Creation::CreatedInDoubt);
    pair.good.delete("late/a").unwrap();
    let deleted = Instant::now();
    while let Err(error) = pair.good.size("late/a") {
        assert_eq!(error.kind, StoreErrorKind::NotFound);
        assert!(deleted.elapsed() < Duration::from_secs(60), "it does not come");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn after_a_lost_answer_anothers_object_is_told_from_our_own() {
    let pair = Pair::new();
    for (key, theirs) in [("other/a", &b"others"[..]), ("other/b", b"longer than ours")] {
        pair.good.create(key, theirs).unwrap();
        pair.line.lose("put", 1, Loss::Request);
        assert_eq!(pair.store.create(key, b"oursss").unwrap(), Creation::AlreadyExistsInDoubt);
        assert_eq!(pair.line.actions(), ["put", "put", "get"]);
        assert_eq!(pair.good.get(key, 100).unwrap(), theirs);
    }
}

#[test]
fn a_create_that_fails_is_definite_only_if_every_attempt_was() {
    let pair = Pair::new();
    pair.line.lose("put", 1, Loss::Instead(403, "AccessDenied"));
    let told = message(pair.store.create("a", b""), StoreErrorKind::PermissionDenied);
    for part in
        ["cannot create a in s3://backup/p (http://127.0.0.1:", "403 AccessDenied", "As told"]
    {
        assert!(told.contains(part), "{told}");
    }
    pair.line.lose("put", 1, Loss::Instead(507, ""));
    message(pair.store.create("a", b""), StoreErrorKind::NoSpace);

    let mut answers = [Loss::Answer, Loss::Instead(403, "AccessDenied")].into_iter();
    pair.line.plan(move |_| answers.next());
    let told = message(pair.store.create("a", b""), StoreErrorKind::Other);
    assert!(told.contains("an earlier attempt was not answered"), "{told}");
}

#[test]
fn a_store_that_stays_away_is_given_up_in_time() {
    let pair = Pair::new();
    let options = S3Options { retry_time: Duration::from_secs(2), ..pair.options.clone() };
    let store = open_bucket("p", &options);
    pair.line.plan(|_| Some(Loss::Instead(503, "ServiceUnavailable")));
    let began = Instant::now();
    message(store.create("a", b""), StoreErrorKind::Other);
    message(store.get("a", 1), StoreErrorKind::Other);
    message(store.delete("a"), StoreErrorKind::Other);
    message(store.list("", &mut |_| ControlFlow::Continue(())), StoreErrorKind::Other);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert!(pair.line.take().len() >= 8, "each was tried again");
}

#[test]
fn a_large_object_arrives_over_a_bad_line() {
    let pair = Pair::new();
    let bytes = noise(1, 20 << 20);
    let write = |key: &str| {
        let mut writer = pair.store.writer(key, 32 << 20)?;
        bytes.chunks(4 << 20).try_for_each(|piece| writer.append(piece))?;
        writer.finish()
    };
    for (n, (action, loss, expected)) in [
        ("begin", Loss::Answer, Creation::Created),
        ("part", Loss::Request, Creation::Created),
        ("part", Loss::Answer, Creation::Created),
        ("part", Loss::Instead(503, "SlowDown"), Creation::Created),
        ("complete", Loss::Request, Creation::CreatedInDoubt),
        ("complete", Loss::Answer, Creation::CreatedInDoubt),
        ("complete", Loss::Instead(500, "InternalError"), Creation::CreatedInDoubt),
        ("complete", Loss::HalfAnswer, Creation::CreatedInDoubt),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("large/{n}");
        pair.line.lose(action, 1, loss);
        assert_eq!(write(&key).unwrap(), expected, "{action} {loss:?}");
        assert!(pair.good.get(&key, 32 << 20).unwrap() == bytes, "{action} {loss:?}");
    }
    pair.line.take();
    pair.line.lose("part", 1, Loss::Instead(403, "AccessDenied"));
    message(write("large/refused"), StoreErrorKind::PermissionDenied);
    assert!(pair.line.actions().contains(&"abort"), "nothing of it is left");
    message(pair.good.size("large/refused"), StoreErrorKind::NotFound);
}

#[test]
fn a_writer_that_failed_once_is_never_finished() {
    let pair = Pair::new();
    pair.line.lose("part", 1, Loss::Instead(403, "AccessDenied"));
    let mut writer = pair.store.writer("failed/a", 32 << 20).unwrap();
    let failed = noise(1, 20 << 20).chunks(1 << 20).find_map(|piece| writer.append(piece).err());
    assert_eq!(failed.unwrap().kind, StoreErrorKind::PermissionDenied);
    message(writer.append(b"more"), StoreErrorKind::Other);
    message(writer.finish(), StoreErrorKind::Other);
    let actions = pair.line.actions();
    assert!(actions.contains(&"abort") && !actions.contains(&"complete"), "{actions:?}");
    message(pair.good.size("failed/a"), StoreErrorKind::NotFound);
}

#[test]
fn small_and_dropped_objects_cost_few_requests() {
    let pair = Pair::new();
    let mut writer = pair.store.writer("small/a", 32 << 20).unwrap();
    writer.append(&noise(1, 6 << 20)).unwrap();
    assert_eq!(writer.finish().unwrap(), Creation::Created);
    assert_eq!(pair.line.actions(), ["put"], "it fits into one part");
    let mut writer = pair.store.writer("small/b", 32 << 20).unwrap();
    writer.append(&noise(1, 6 << 20)).unwrap();
    drop(writer);
    assert!(pair.line.take().is_empty());
    assert!(pair.store.probe_conditional_writes().unwrap());
    assert_eq!(pair.line.actions(), ["put", "put", "get", "delete"]);
}

#[test]
fn a_full_bucket_still_tells_its_status() {
    let pair = Pair::new();
    let store = open_bucket("r", &pair.options);
    Repository::init(store, &cheap(), &passphrase()).unwrap();
    for full in [Loss::Instead(507, ""), Loss::Instead(403, "AccessDenied")] {
        pair.line.lose("put", usize::MAX, full);
        let store = open_bucket("r", &pair.options);
        let status = Repository::open(store, &passphrase()).unwrap().status().unwrap();
        assert!(!status.conditional_writes, "nothing is known: {full:?}");
    }
    pair.line.lose("put", 0, Loss::Request);
    let store = open_bucket("r", &pair.options);
    assert!(Repository::open(store, &passphrase()).unwrap().status().unwrap().conditional_writes);
}

#[test]
fn a_delete_is_repeated_until_it_is_answered() {
    let pair = Pair::new();
    for loss in [Loss::Request, Loss::Answer, Loss::Instead(500, "InternalError")] {
        pair.good.create("delete/a", b"1").unwrap();
        pair.line.lose("delete", 1, loss);
        pair.store.delete("delete/a").unwrap();
        assert_eq!(pair.line.actions(), ["delete"; 2]);
        message(pair.good.size("delete/a"), StoreErrorKind::NotFound);
    }
}

#[test]
fn a_backup_over_a_bad_line_is_whole_and_acknowledged_only_without_doubt() {
    let pair = Pair::new();
    let options = S3Options { attempt_timeout: Duration::from_secs(20), ..pair.options.clone() };
    let store = open_bucket("r", &options);
    let good = S3Options { endpoint: pair.options.endpoint.clone(), ..options };
    let good = open_bucket("r", &good);
    let repository = Repository::init(store, &cheap(), &passphrase()).unwrap();
    let acks = || {
        let mut acks = 0;
        let mut count = |entry: thinmover_repository::store::ListEntry| {
            acks += usize::from(entry.key.contains("/ack/"));
            ControlFlow::Continue(())
        };
        good.list("", &mut count).unwrap();
        acks
    };
    let image = [noise(1, 40 << 20), text(2, 3 * BLOCK)].concat();
    let mut expected = 0;
    let losses = [
        ("", ""),
        ("/session/", "put"),
        ("/pack/", "complete"),
        ("/index/", "put"),
        ("/outcome/", "put"),
    ];
    for (round, (kind, action)) in (0u8..).zip(losses) {
        let mut is_lost = kind.is_empty();
        pair.line.plan(move |request| {
            let is_met = request.target.contains(kind) && request.action() == action && !is_lost;
            is_lost |= is_met;
            is_met.then_some(Loss::Answer)
        });
        // All of it is new.
        let image: Vec<u8> = image.iter().map(|byte| byte ^ round).collect();
        let backup = back_up(&repository, &format!("vg0/{round}"), &image).unwrap();
        assert!(restore(&repository, &backup).unwrap() == image, "{kind}");
        // A pack that arrives again is garbage which is found.
        expected += usize::from(kind.is_empty() || kind == "/pack/");
        assert_eq!(acks(), expected, "{kind}");
    }
    assert_eq!(repository.backups(&Filter::default()).unwrap().live.len(), 5);
}
