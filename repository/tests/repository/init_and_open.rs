//! Making and opening: never over something else, never with the wrong key.

use std::sync::Arc;

use thinmover_io::IoEngine;
use thinmover_repository::store::StoreErrorKind;
use thinmover_repository::{Error, Passphrase, Repository};

use super::support::*;

#[test]
fn a_repository_opens_with_its_passphrase_only() {
    let (_dir, store) = directory_store();
    let made = Repository::init(Arc::clone(&store), &cheap(), &passphrase()).unwrap();
    let opened = Repository::open(Arc::clone(&store), &passphrase()).unwrap();
    assert_eq!(opened.descriptor(), made.descriptor());
    let error = Repository::open(store, &Passphrase::new("wrong")).unwrap_err();
    assert!(matches!(&error, Error::WrongPassphrase { slots: 1, .. }), "{error}");
    assert!(error.to_string().contains("wrong passphrase"));
}

#[test]
fn what_is_no_repository_is_called_so() {
    let (_dir, store) = directory_store();
    let error = Repository::open(Arc::clone(&store), &passphrase()).unwrap_err();
    assert!(matches!(error, Error::NotARepository { .. }), "{error}");
    store.create("config", b"[section]\nkey = value\n").unwrap();
    let error = Repository::open(store, &passphrase()).unwrap_err();
    assert!(matches!(error, Error::NotARepository { .. }), "{error}");
}

#[test]
fn init_never_overwrites() {
    for key in ["config", "slot/00", "domain/00/pack/00", "something-else"] {
        let (_dir, store) = directory_store();
        store.create(key, b"precious").unwrap();
        let error = Repository::init(Arc::clone(&store), &cheap(), &passphrase()).unwrap_err();
        let is_taken = matches!(&error, Error::AlreadyInitialised { found, .. } if found == key);
        assert!(is_taken, "{error}");
        assert_eq!(store.get(key, 100).unwrap(), b"precious");
        let mut count = 0;
        store
            .list("", &mut |_| {
                count += 1;
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(count, 1);
    }
}

#[test]
fn init_refuses_a_directory_with_files_of_others() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("README.TXT"), "mine").unwrap();
    let url = format!("file://{}", dir.path().display());
    let store = thinmover_repository::open_store(&url, &IoEngine::default()).unwrap();
    let error = Repository::init(store, &cheap(), &passphrase()).unwrap_err();
    assert!(matches!(error, Error::AlreadyInitialised { .. }), "{error}");
}

#[test]
fn of_two_that_init_at_once_one_wins_and_its_passphrase_opens() {
    for _ in 0..20 {
        let store = MemoryStore::default();
        let results: Vec<_> = std::thread::scope(|scope| {
            let racers: Vec<_> = ["one", "two"]
                .into_iter()
                .map(|word| {
                    let store = Arc::new(store.clone());
                    scope.spawn(move || {
                        let passphrase = Passphrase::new(word);
                        (Repository::init(store, &cheap(), &passphrase).is_ok(), passphrase)
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let opens: Vec<bool> = results
            .iter()
            .map(|(_, word)| Repository::open(Arc::new(store.clone()), word).is_ok())
            .collect();
        let won: Vec<bool> = results.iter().map(|(won, _)| *won).collect();
        // Both may see the other's slot first and give way; then nothing opens.
        assert!(won.iter().filter(|won| **won).count() <= 1);
        assert_eq!(opens, won);
    }
}

#[test]
fn an_init_that_runs_out_of_space_leaves_nothing() {
    for failing in ["slot", "config"] {
        let memory = MemoryStore::default();
        let store = FaultyStore::new(Arc::new(memory.clone()), move |verb, key| {
            (verb == "create" && key.starts_with(failing))
                .then_some(Fault::Before(StoreErrorKind::NoSpace))
        });
        let error = Repository::init(Arc::new(store), &cheap(), &passphrase()).unwrap_err();
        assert!(error.is_no_space(), "{error}");
        assert!(memory.keys().is_empty(), "{:?}", memory.keys());
    }
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let store = MemoryStore::default();
    init(store.clone());
    let config = String::from_utf8(store.remove("config")).unwrap();
    store.put("config", config.replace("\"version\":1", "\"version\":2").into_bytes());
    let error = Repository::open(Arc::new(store.clone()), &passphrase()).unwrap_err();
    let is_newer = matches!(&error, Error::NewerFormat { found, supported: 1, .. } if found == "2");
    assert!(is_newer, "{error}");
    store.remove("config");
    store.put("config", config.replace("aes-256-gcm", "quantum-17").into_bytes());
    let error = Repository::open(Arc::new(store), &passphrase()).unwrap_err();
    assert!(matches!(error, Error::NewerFormat { .. }), "{error}");
}

#[test]
fn an_exchanged_config_is_found() {
    let (store, other) = (MemoryStore::default(), MemoryStore::default());
    init(store.clone());
    init(other.clone());
    store.change("config", |bytes| *bytes = other.bytes("config"));
    assert!(Repository::open(Arc::new(store.clone()), &passphrase()).is_err());
    // With the slot of the other as well it is simply the other repository.
    let slot = store.keys().into_iter().find(|key| key.starts_with("slot/")).unwrap();
    let other_slot = other.keys().into_iter().find(|key| key.starts_with("slot/")).unwrap();
    store.change(&slot, |bytes| *bytes = other.bytes(&other_slot));
    assert!(Repository::open(Arc::new(store), &passphrase()).is_ok());
}

#[test]
fn a_second_slot_does_not_hinder_the_first() {
    let store = MemoryStore::default();
    init(store.clone());
    store.put("slot/00000000000000000000000000000000", b"garbage".to_vec());
    store.put("slot/11111111111111111111111111111111", b"{\"version\":9,\"kind\":\"x\"}\n".into());
    assert!(Repository::open(Arc::new(store.clone()), &passphrase()).is_ok());
    for number in 0..20 {
        store.put(&format!("slot/{number:032x}"), b"garbage".to_vec());
    }
    let error = Repository::open(Arc::new(store), &passphrase()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[test]
fn no_permission_is_told_from_not_there() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let url = format!("file://{}/below", file.display());
    let store = thinmover_repository::open_store(&url, &IoEngine::default()).unwrap();
    let error = Repository::open(Arc::clone(&store), &passphrase()).unwrap_err();
    assert!(matches!(error, Error::NotARepository { .. }), "{error}");
    let error = Repository::init(store, &cheap(), &passphrase()).unwrap_err();
    assert!(error.to_string().contains("below"), "{error}");

    let closed = dir.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read_dir(&closed).is_ok() {
        // Root may read it all the same: there is nothing to see here.
        return;
    }
    let store = thinmover_repository::open_store(
        &format!("file://{}", closed.display()),
        &IoEngine::default(),
    )
    .unwrap();
    for error in [
        Repository::open(Arc::clone(&store), &passphrase()).unwrap_err(),
        Repository::init(store, &cheap(), &passphrase()).unwrap_err(),
    ] {
        let Error::Store(error) = error else { panic!("{error}") };
        assert_eq!(error.kind, StoreErrorKind::PermissionDenied);
    }
}

#[test]
fn an_empty_passphrase_is_refused() {
    let (_dir, store) = directory_store();
    let error = Repository::init(store, &cheap(), &Passphrase::new("")).unwrap_err();
    assert!(matches!(error, Error::InvalidInput(_)), "{error}");
}

#[test]
fn the_directory_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, repository) = directory_repository();
    back_up(&repository, "vg0/a", &text(1, BLOCK)).unwrap();
    let mut pending = vec![dir.path().join("repository")];
    while let Some(path) = pending.pop() {
        let metadata = path.metadata().unwrap();
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o777, expected, "{}", path.display());
        if metadata.is_dir() {
            pending.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}
