//! Repositories that earlier versions wrote must stay readable. `fixtures/v1` was written by
//! `write_the_fixture`, which is run by hand (`cargo test -- --ignored`) when the format changes
//! before it is frozen.

use std::path::PathBuf;
use std::sync::Arc;

use thinmover_io::IoEngine;
use thinmover_repository::store::DirectoryStore;
use thinmover_repository::{Filter, InitOptions, Repository, UploadLimits};

use super::support::*;

fn fixture() -> Arc<DirectoryStore> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1");
    Arc::new(DirectoryStore::new(path, IoEngine::default()))
}

fn first() -> Vec<u8> {
    [text(1, 2 * BLOCK), vec![0; 200 * BLOCK], noise(2, 1000)].concat()
}

fn second() -> Vec<u8> {
    [text(1, BLOCK), text(5, BLOCK), vec![0; 200 * BLOCK], noise(2, 1000)].concat()
}

#[test]
fn version_1_is_read() {
    let repository = Repository::open(fixture(), &passphrase()).unwrap();
    let mut backups = repository.backups(&Filter::default()).unwrap();
    backups.live.sort_by_key(|backup| backup.source.name.clone());
    assert!(backups.damaged.is_empty());
    let names: Vec<_> = backups.live.iter().map(|backup| backup.source.name.as_str()).collect();
    assert_eq!(names, ["vg0/first", "vg0/second"], "and not the deleted one");
    for (backup, image) in backups.live.iter().zip([first(), second()]) {
        assert!(restore(&repository, backup).unwrap() == image);
        assert!(is_whole(&repository, backup));
    }
}

#[test]
#[ignore = "writes the fixture"]
fn write_the_fixture() {
    let options = InitOptions::default();
    let repository = Repository::init(fixture(), &options, &passphrase()).unwrap();
    let packed = UploadLimits { embedded_bytes: 0, ..UploadLimits::default() };
    for (name, image, limits) in [
        ("vg0/first", first(), packed),
        ("vg0/second", second(), UploadLimits::default()),
        ("vg0/deleted", text(9, BLOCK), UploadLimits::default()),
    ] {
        let backup = back_up_with(&repository, name, &image, limits).unwrap();
        if name == "vg0/deleted" {
            repository.delete(&backup).unwrap();
        }
    }
}
