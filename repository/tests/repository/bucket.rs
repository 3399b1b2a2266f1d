//! A bucket at the end of a bad line: every call ends right or says what is wrong.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thinmover_io::IoEngine;
use thinmover_repository::store::{
    Creation, RangeBuffer, S3Encryption, S3Options, Store, StoreErrorKind, StoreResult,
    open_store_with,
};
use thinmover_repository::{Filter, Repository};

use super::support::lossy::{Line, Loss};
use super::support::server::{BUCKET, Kind, SECRET, Server};
use super::support::*;

/// A store behind a bad line, and a good one to the same objects.
struct Pair {
    _server: Server,
    line: Line,
    options: S3Options,
    store: Arc<dyn Store>,
    good: Arc<dyn Store>,
}

impl Pair {
    fn new() -> Self {
        Self::with(Server::start(Kind::Honours), Duration::from_secs(20))
    }

    /// Waits for no answer for long, and may take a slow one for none.
    fn impatient() -> Self {
        Self::with(Server::start(Kind::Honours), Duration::from_millis(1500))
    }

    fn with(server: Server, attempt_timeout: Duration) -> Self {
        let line = Line::to(server.address());
        let options = S3Options {
            endpoint: Some(line.url()),
            attempt_timeout,
            retry_time: Duration::from_secs(10),
            ..bucket_options(&server)
        };
        let (store, good) =
            (open_bucket("p", &options), open_bucket("p", &bucket_options(&server)));
        Self { _server: server, line, options, store, good }
    }
}

fn message<T: std::fmt::Debug>(result: StoreResult<T>, expected: StoreErrorKind) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind, expected, "{error}");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(SECRET), "{shown}");
    error.to_string()
}

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
        expected += usize::from(kind.is_empty());
        assert_eq!(acks(), expected, "{kind}");
    }
    assert_eq!(repository.backups(&Filter::default()).unwrap().live.len(), 5);
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

#[test]
fn a_key_that_is_replaced_is_used_from_then_on() {
    let server = Server::start(Kind::Honours);
    let store = open_bucket("p", &bucket_options(&server));
    let file = server.credentials_file();
    let right = std::fs::read_to_string(&file).unwrap();
    store.create("a", b"1").unwrap();
    std::fs::write(&file, right.replace(SECRET, "another")).unwrap();
    let told = message(store.get("a", 1), StoreErrorKind::PermissionDenied);
    assert!(told.contains("SignatureDoesNotMatch") && told.contains("secret key"), "{told}");
    std::fs::write(&file, &right).unwrap();
    assert_eq!(store.get("a", 1).unwrap(), b"1");
    std::fs::write(&file, "[default]\n").unwrap();
    assert_eq!(store.get("a", 1).unwrap(), b"1", "half a file is not taken");
    assert!(!format!("{store:?}").contains(SECRET));
}

#[test]
fn a_proxy_is_used_where_one_is_named() {
    let server = Server::start(Kind::Honours);
    let line = Line::to(server.address());
    let options = S3Options { proxy: Some(line.url()), ..bucket_options(&server) };
    open_bucket("p", &options).create("a", b"1").unwrap();
    let [request] = line.take().try_into().unwrap();
    assert!(request.target.starts_with(&server.endpoint()), "{}", request.target);
}

#[test]
fn the_store_is_told_how_to_encrypt() {
    let pair = Pair::new();
    let file = pair.options.credentials_file.clone().unwrap().with_file_name("customer-key");
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    std::fs::write(&file, format!("{key}\n")).unwrap();
    pair.line.plan(|_| Some(Loss::Instead(403, "AccessDenied")));
    let name = "x-amz-server-side-encryption";
    for (encryption, expected) in [
        (S3Encryption::Aes256, vec![("", "AES256")]),
        (S3Encryption::Kms { key_id: None }, vec![("", "aws:kms")]),
        (
            S3Encryption::Kms { key_id: Some("alias/edge".into()) },
            vec![("", "aws:kms"), ("-aws-kms-key-id", "alias/edge")],
        ),
        (
            S3Encryption::CustomerKey { file },
            vec![("-customer-algorithm", "AES256"), ("-customer-key", key)],
        ),
    ] {
        let is_customer = matches!(encryption, S3Encryption::CustomerKey { .. });
        let options = S3Options { encryption: Some(encryption), ..pair.options.clone() };
        let store = open_bucket("p", &options);
        let told = message(store.create("a", b"1"), StoreErrorKind::PermissionDenied);
        assert!(!told.contains(key) && !format!("{store:?}{options:?}").contains(key));
        let mut writer = store.writer("b", 32 << 20).unwrap();
        drop(writer.append(&noise(1, 9 << 20)));
        drop(writer);
        message(store.get("a", 1), StoreErrorKind::PermissionDenied);
        for request in pair.line.take() {
            for (rest, value) in &expected {
                let needed = match request.action() {
                    "put" | "begin" => true,
                    "get" | "part" => is_customer,
                    _ => false,
                };
                let found = request.header(&format!("{name}{rest}"));
                assert_eq!(found, needed.then_some(*value), "{request:?}");
            }
        }
    }
}

#[test]
fn what_is_set_up_wrongly_is_said() {
    let server = Server::start(Kind::Honours);
    let right = bucket_options(&server);
    let read = |bucket: &str, options: &S3Options| {
        let store =
            open_store_with(&format!("s3://{bucket}"), &IoEngine::default(), options).unwrap();
        let began = Instant::now();
        let list = store.list("", &mut |_| ControlFlow::Continue(()));
        assert!(began.elapsed() < Duration::from_secs(15));
        let error = list.unwrap_err();
        assert_ne!(error.kind, StoreErrorKind::NotFound, "{error}");
        error.to_string()
    };
    let with = |endpoint: &str| S3Options { endpoint: Some(endpoint.into()), ..right.clone() };
    let told = read("none", &right);
    assert!(told.contains("NoSuchBucket") && told.contains("make the bucket"), "{told}");
    let told = read(BUCKET, &with("http://127.0.0.1:1"));
    assert!(told.contains("refused") && told.contains("check `endpoint`"), "{told}");
    let told = read(BUCKET, &with(&server.endpoint().replace("http", "https")));
    assert!(told.contains("plain HTTP"), "{told}");
    let told = read(BUCKET, &S3Options { region: Some("eu-west-1".into()), ..right.clone() });
    assert!(told.contains("region"), "{told}");

    let missing = S3Options { credentials_file: Some(PathBuf::from("/none")), ..right.clone() };
    let error = open_store_with("s3://backup", &IoEngine::default(), &missing).unwrap_err();
    assert!(error.to_string().contains("credentials file /none cannot be read"), "{error}");
}

#[test]
fn a_certificate_is_trusted_only_by_its_authority() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let authority = |name: &str| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(at(name), params.self_signed(&key).unwrap().pem()).unwrap();
        rcgen::Issuer::new(params, key)
    };
    let (ours, _) = (authority("ours"), authority("another"));
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(at("cert"), params.signed_by(&key, &ours).unwrap().pem()).unwrap();
    std::fs::write(at("key"), key.serialize_pem()).unwrap();

    let server = Server::start_tls(&at("cert"), &at("key"));
    let with = |ca_file: Option<&str>| {
        let options = S3Options { ca_file: ca_file.map(at), ..bucket_options(&server) };
        open_bucket("p", &options)
    };
    assert_eq!(with(Some("ours")).create("a", b"1").unwrap(), Creation::Created);
    for wrong in [None, Some("another")] {
        let began = Instant::now();
        let told = message(with(wrong).create("b", b"1"), StoreErrorKind::Other);
        assert!(told.contains("UnknownIssuer") && told.contains("`ca_file`"), "{told}");
        assert!(began.elapsed() < Duration::from_secs(5), "it is not tried again");
    }
}
