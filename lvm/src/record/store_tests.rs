use super::*;
use crate::record::{ActivatedBody, Named};
use crate::testing::{group, lv, uuid};
use proptest::prelude::*;

const BOOT: &str = "boot";

fn body(name: &str) -> Body {
    Body::Activated(ActivatedBody {
        vg: Named { name: group().name, uuid: uuid('g') },
        volume: Named { name: lv(name), uuid: uuid('v') },
    })
}

struct Folder {
    _temporary: tempfile::TempDir,
    store: RecordStore,
}

impl Folder {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let store = RecordStore::new(temporary.path());
        Self { _temporary: temporary, store }
    }

    fn create(&self, name: &str) -> HeldRecord {
        self.store.create(Nonce::random().unwrap(), BOOT, body(name)).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let mut files: Vec<String> = fs::read_dir(&self.store.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        files
    }

    fn put(&self, nonce: &Nonce, suffix: &str, text: &str) {
        fs::create_dir_all(&self.store.folder).unwrap();
        fs::write(self.store.path(nonce, suffix), text).unwrap();
    }
}

#[test]
fn a_held_record_is_not_handed_to_recovery_also_after_an_update() {
    let folder = Folder::new();
    let mut held = folder.create("a");
    for _ in 0..2 {
        let scan = folder.store.scan().unwrap();
        assert!(scan.abandoned.is_empty());
        assert_eq!(scan.in_use, [held.nonce().clone()]);
        held.update(body("b")).unwrap();
    }
}

#[test]
fn an_abandoned_record_is_handed_over_once_with_its_last_state() {
    let folder = Folder::new();
    let mut held = folder.create("a");
    held.update(body("b")).unwrap();
    let nonce = held.nonce().clone();
    drop(held);
    let first = folder.store.scan().unwrap();
    assert_eq!(first.abandoned.len(), 1);
    assert_eq!(first.abandoned[0].nonce(), &nonce);
    assert_eq!(first.abandoned[0].record().body, body("b"));
    assert_eq!(folder.store.scan().unwrap().in_use, [nonce]);
}

#[test]
fn a_removed_record_leaves_no_file() {
    let folder = Folder::new();
    let held = folder.create("a");
    assert_eq!(folder.files().len(), 2);
    held.remove().unwrap();
    assert_eq!(folder.files(), [""; 0]);
    assert!(folder.store.scan().unwrap().abandoned.is_empty());
}

#[test]
fn what_a_death_between_two_steps_leaves_is_swept() {
    let folder = Folder::new();
    let nonce = Nonce::random().unwrap();
    // After the lock was made, in the middle of writing; and after the record was removed.
    folder.put(&nonce, ".lock", "");
    folder.put(&nonce, ".tmp", "{\"versi");
    folder.put(&Nonce::random().unwrap(), ".lock", "");
    assert!(folder.store.scan().unwrap().abandoned.is_empty());
    assert_eq!(folder.files(), [""; 0]);
}

#[test]
fn an_update_that_was_cut_short_leaves_the_old_record_alone() {
    let folder = Folder::new();
    let nonce = folder.create("a").nonce().clone();
    folder.put(&nonce, ".tmp", "{\"versi");
    let scan = folder.store.scan().unwrap();
    assert_eq!(scan.abandoned[0].record().body, body("a"));
    assert_eq!(folder.files(), [format!("{nonce}.json"), format!("{nonce}.lock")]);
}

#[test]
fn a_lock_file_that_was_removed_or_replaced_is_not_taken_for_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.lock");
    let file = File::create(&path).unwrap();
    assert!(is_named(&path, &file).unwrap());
    fs::remove_file(&path).unwrap();
    assert!(!is_named(&path, &file).unwrap());
    File::create(&path).unwrap();
    assert!(!is_named(&path, &file).unwrap());
}

#[test]
fn a_lock_has_one_holder_also_while_lock_files_come_and_go() {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    let folder = Folder::new();
    fs::create_dir_all(&folder.store.folder).unwrap();
    let nonce = Nonce::random().unwrap();
    let (held, times) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let Some(lock) = folder.store.lock(&nonce).unwrap() else { continue };
                    assert!(!held.swap(true, Ordering::SeqCst), "two holders at once");
                    times.fetch_add(1, Ordering::SeqCst);
                    thread::yield_now();
                    held.store(false, Ordering::SeqCst);
                    // From here on another may make and lock a new file.
                    folder.store.remove_file(&nonce, ".lock").unwrap();
                    drop(lock);
                }
            });
        }
    });
    assert!(times.into_inner() > 100);
}

#[test]
fn newer_and_damaged_records_are_reported_and_kept() {
    let folder = Folder::new();
    let nonces: Vec<Nonce> = (0..6).map(|_| Nonce::random().unwrap()).collect();
    let held = folder.create("a");
    let good = fs::read_to_string(folder.store.path(held.nonce(), ".json")).unwrap();
    held.remove().unwrap();
    folder.put(&nonces[0], ".json", r#"{"version":2,"what":"ever"}"#);
    folder.put(&nonces[1], ".json", &good[..good.len() / 2]);
    folder.put(&nonces[2], ".json", "");
    // Another record's text under this name.
    folder.put(&nonces[3], ".json", &good);
    folder.put(&nonces[4], ".json", &" ".repeat(70_000));
    folder.put(&nonces[5], ".json", &good.replace("\"bootId\"", "\"more\":1,\"bootId\""));
    let before: Vec<String> =
        folder.files().into_iter().filter(|name| name.ends_with(".json")).collect();
    let scan = folder.store.scan().unwrap();
    assert!(scan.abandoned.is_empty());
    assert_eq!(scan.problems.len(), 6);
    let newer = |problem: &&RecordProblem| matches!(problem, RecordProblem::Newer { .. });
    assert_eq!(scan.problems.iter().filter(newer).count(), 1);
    let after: Vec<String> =
        folder.files().into_iter().filter(|name| name.ends_with(".json")).collect();
    assert_eq!(before, after);
}

#[test]
fn a_record_in_use_is_waited_for_only_so_long() {
    let folder = Folder::new();
    let held = folder.create("a");
    let nonce = held.nonce().clone();
    let error = folder.store.hold(&nonce, Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, RecordError::Busy { .. }));
    drop(held);
    assert!(folder.store.hold(&nonce, Duration::ZERO).is_ok());
}

#[test]
fn the_grammar_of_version_1_stays_as_it_is() {
    let path = Path::new("x");
    let text = include_str!("../../fixtures/records/v1.jsonl");
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let nonce = Nonce::parse(value["nonce"].as_str().unwrap()).unwrap();
        let record = parse(path, &nonce, line.as_bytes()).unwrap();
        assert_eq!(serde_json::to_value(&record).unwrap(), value);
    }
    assert_eq!(text.lines().count(), 9);
}

#[test]
fn dying_while_holding_lets_go() {
    // The lock is the kernel's: a child that holds it and is killed is the real thing.
    let folder = Folder::new();
    let held = folder.create("a");
    let nonce = held.nonce().clone();
    let path = folder.store.path(&nonce, ".lock");
    drop(held);
    let mut child =
        std::process::Command::new("flock").arg(&path).args(["sleep", "60"]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while folder.store.scan().unwrap().in_use.is_empty() {
        assert!(Instant::now() < deadline, "flock(1) did not take the lock");
        thread::sleep(POLL_INTERVAL);
    }
    // flock(1) hands the descriptor on to sleep(1); closing both is what a whole group's death is.
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    for pid in children.split_whitespace().map(|pid| pid.parse().unwrap()) {
        use nix::sys::signal::{Signal, kill};
        kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    let _ = child.kill();
    child.wait().unwrap();
    assert!(folder.store.hold(&nonce, Duration::from_secs(5)).is_ok());
}

proptest! {
    #[test]
    fn no_bytes_are_taken_for_a_record_by_accident(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let nonce = Nonce::parse(&"a0".repeat(16)).unwrap();
        prop_assert!(parse(Path::new("x"), &nonce, &bytes).is_err());
    }
}
