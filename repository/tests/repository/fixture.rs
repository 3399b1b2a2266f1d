//! Repositories that earlier versions wrote must stay readable. `fixtures/v1` was written by
//! `write_the_fixture`, which is run by hand (`cargo test -- --ignored`) when the format changes
//! before it is frozen.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thinmover_io::IoEngine;
use thinmover_repository::store::DirectoryStore;
use thinmover_repository::{
    Filter, InitOptions, Manifest, ManifestDraft, ReadLimits, Repository, UploadLimits,
};

use super::support::*;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1")
}

/// The store in `path`. Readers leave their marks in a copy.
fn store(path: PathBuf) -> Arc<DirectoryStore> {
    Arc::new(DirectoryStore::new(path, IoEngine::default()))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn first() -> Vec<u8> {
    [text(1, 2 * BLOCK), vec![0; 200 * BLOCK], noise(2, 1000)].concat()
}

fn second() -> Vec<u8> {
    [text(1, BLOCK), text(5, BLOCK), vec![0; 200 * BLOCK], noise(2, 1000)].concat()
}

/// `second` with its first block changed, and longer.
fn third() -> Vec<u8> {
    [text(7, BLOCK), text(5, BLOCK), vec![0; 200 * BLOCK], noise(3, BLOCK), noise(2, 10)].concat()
}

/// The chunks of `third` that are no holes, in chunks of 192 KiB.
const MAPPED: [Range<u64>; 2] = [0..1, 67..68];

#[test]
fn version_1_is_read() {
    let dir = tempfile::tempdir().unwrap();
    copy(&path(), &dir.path().join("v1"));
    let repository = Repository::open(store(dir.path().join("v1")), &passphrase()).unwrap();
    let mut backups = repository.backups(&Filter::default()).unwrap();
    backups.live.sort_by_key(|backup| backup.source.name.clone());
    assert!(backups.damaged.is_empty());
    let holds: Vec<_> = backups.holds.iter().map(|(id, hold)| (id, hold.reason.as_str())).collect();
    assert_eq!(holds, [(&backups.live[1].id, "audit")]);
    let names: Vec<_> = backups.live.iter().map(|backup| backup.source.name.as_str()).collect();
    assert_eq!(names, ["vg0/first", "vg0/second", "vg0/third"], "and not the deleted one");
    for (backup, image) in backups.live.iter().zip([first(), second(), third()]) {
        assert!(restore(&repository, backup).unwrap() == image);
        assert!(is_whole(&repository, backup));
    }
    let [_, second, third] =
        [0, 1, 2].map(|n| repository.image(&backups.live[n], ReadLimits::default()).unwrap());
    assert!(second.mapped_chunks().is_none());
    let chunks: Vec<_> = third.mapped_chunks().unwrap().map(Result::unwrap).collect();
    assert_eq!(
        (chunks.as_slice(), third.mapped().unwrap().chunk_bytes()),
        (&MAPPED[..], 192 << 10)
    );
}

#[test]
#[ignore = "writes the fixture"]
fn write_the_fixture() {
    let options = InitOptions::default();
    let repository = Repository::init(store(path()), &options, &passphrase()).unwrap();
    let packed = UploadLimits { embedded_bytes: 0, ..UploadLimits::default() };
    back_up_with(&repository, "vg0/first", &first(), packed).unwrap();
    let collected = back_up(&repository, "vg0/collected", &text(8, BLOCK)).unwrap();
    repository.delete(&collected).unwrap();
    collect(&repository);
    let base = back_up(&repository, "vg0/second", &second()).unwrap();
    repository.hold(base.location(), "audit").unwrap();
    back_up_third(&repository, &base);
    let deleted = back_up(&repository, "vg0/deleted", &text(9, BLOCK)).unwrap();
    repository.delete(&deleted).unwrap();
}

fn back_up_third(repository: &Repository, base: &Manifest) {
    let upload = begin(repository, "vg0/third");
    let (base, third) = (base_of(&upload, base), third());
    let mut packer = upload.packer().unwrap();
    let mut image = upload.based_image(&base, third.len() as u64).unwrap();
    for block in [0, 202, 203] {
        let plain = third.chunks(BLOCK).nth(block).unwrap();
        image.set(block as u64, packer.store_block(plain).unwrap().id).unwrap();
    }
    packer.finish().unwrap();
    let root = image.finish().unwrap();
    let mut mapped = upload.mapped_list_builder(192 << 10, third.len() as u64).unwrap();
    MAPPED.into_iter().for_each(|run| mapped.push(run).unwrap());
    let draft = ManifestDraft {
        tier: "changed".to_owned(),
        mapped: Some(mapped.finish().unwrap()),
        ..draft("vg0/third", root, 3 * BLOCK as u64)
    };
    upload.commit(draft).unwrap();
}
