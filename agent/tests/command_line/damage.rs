//! Damaged repositories: verify finds it, and no restore returns wrong data.

use std::fs;
use std::path::Path;

use crate::fixture::{Fixture, noise};

const MIB: usize = 1 << 20;

/// A repository with one backup in several objects, damaged by `damage` in one of kind `part`;
/// what must be true of every such one.
fn check(part: &str, damage: impl Fn(&Path)) {
    let fixture = Fixture::new();
    let id = fixture.back_up(&fixture.image("source", &noise(1, 9 * MIB)));
    damage(&fixture.objects(part)[0]);

    let verified = fixture.job(&["backup", "verify", &id]);
    assert_eq!(verified.code, 1, "{part}: {verified:#?}");
    let document = verified.document();
    assert!(document["ok"] == false || document["error"].is_object(), "{part}: {document}");

    // What the host keeps may be enough.
    let by_cache = fixture.arg("target-by-cache");
    if fixture.job(&["restore", &id, &by_cache]).code == 0 {
        assert!(fs::read(by_cache).unwrap() == noise(1, 9 * MIB), "{part}");
    }
    fs::remove_dir_all(fixture.path("cache")).unwrap();
    let target = fixture.arg("target");
    let restored = fixture.job(&["restore", &id, &target]);
    assert!([1, 3].contains(&restored.code), "{part}: {restored:#?}");
    assert!(!Path::new(&target).exists(), "{part}: a failed restore leaves no new file");
}

fn flip(at: impl Fn(usize) -> usize) -> impl Fn(&Path) {
    move |object| {
        let mut bytes = fs::read(object).unwrap();
        let at = at(bytes.len());
        bytes[at] ^= 1;
        replace(object, &bytes);
    }
}

pub(crate) fn cut_short(object: &Path) {
    let bytes = fs::read(object).unwrap();
    replace(object, &bytes[..bytes.len() / 2]);
}

fn replace(object: &Path, bytes: &[u8]) {
    fs::remove_file(object).unwrap();
    fs::write(object, bytes).unwrap();
}

#[test]
fn a_flipped_bit_is_found() {
    for part in ["pack", "index", "outcome"] {
        check(part, flip(|length| length / 2));
    }
}

#[test]
fn an_object_that_is_cut_short_is_found() {
    for part in ["pack", "index", "outcome"] {
        check(part, cut_short);
    }
}

#[test]
fn a_missing_pack_or_index_is_found() {
    for part in ["pack", "index"] {
        check(part, |object| fs::remove_file(object).unwrap());
    }
}

#[test]
fn damage_names_the_range_of_the_volume_it_costs() {
    let fixture = Fixture::new();
    let id = fixture.back_up(&fixture.image("source", &noise(1, 9 * MIB)));
    flip(|_| 1000)(&fixture.objects("pack")[0]);
    let target = fixture.arg("target");
    let ran = fixture.job(&["restore", &id, &target]).failed(1, "damaged", "offset");
    assert!(ran.document()["error"]["message"].as_str().unwrap().contains("262144 bytes"));
}

#[test]
fn a_damaged_manifest_hides_no_other_backup() {
    let fixture = Fixture::new();
    let source = fixture.image("source", &noise(1, 1000));
    let (first, second) = (fixture.back_up(&source), fixture.back_up(&source));
    let outcomes = fixture.objects("outcome");
    cut_short(outcomes.iter().find(|path| path.ends_with(&first)).unwrap());
    let list = fixture.job(&["backup", "list"]);
    assert_eq!(list.code, 5, "{list:#?}");
    let backups = list.document()["backups"].clone();
    assert_eq!(backups.as_array().unwrap().len(), 1);
    assert_eq!(backups[0]["id"], second);
    assert_eq!(list.document()["damaged"][0]["id"], first);
    assert!(list.stderr.contains(&first));
    let verified = fixture.job(&["backup", "verify", &first[..8]]);
    assert_eq!((verified.code, &verified.document()["id"]), (1, &first.as_str().into()));
}

#[test]
fn a_damaged_last_backup_costs_no_other_and_can_be_deleted() {
    let fixture = Fixture::new();
    let source = fixture.image("source", &noise(1, 1000));
    let damaged = fixture.back_up(&source);
    cut_short(&fixture.objects("outcome")[0]);
    let ran = fixture.job(&["backup", "create", &source]);
    assert_eq!(ran.code, 5, "{ran:#?}");
    let report = ran.document();
    assert!(report["warnings"][0].as_str().unwrap().contains(&damaged), "{report}");

    fixture.job(&["backup", "delete", &damaged]).failed(4, "confirmation-needed", "cannot be read");
    let deleted = fixture.job(&["backup", "delete", &damaged[..8], "--yes"]).json();
    assert_eq!((&deleted["id"], &deleted["source"]), (&damaged.as_str().into(), &().into()));
    assert_eq!(fixture.listed(), [report["id"].as_str().unwrap()]);
}

#[test]
fn a_damaged_last_backup_that_was_deleted_is_not_missed() {
    let fixture = Fixture::new();
    let source = fixture.image("source", &noise(1, 1000));
    let damaged = fixture.back_up(&source);
    cut_short(&fixture.objects("outcome")[0]);
    fixture.job(&["backup", "delete", &damaged, "--yes"]).succeeded();
    fixture.back_up(&source);
}

#[test]
fn a_failed_restore_over_something_leaves_no_first_block() {
    let fixture = Fixture::new();
    let id = fixture.back_up(&fixture.image("source", &noise(1, 9 * MIB)));
    for pack in fixture.objects("pack") {
        flip(|length| length / 2)(&pack);
    }
    let target = fixture.image("target", &noise(2, 9 * MIB));
    fixture.job(&["restore", &id, &target, "--yes"]).failed(1, "damaged", "offset");
    let left = fs::read(&target).unwrap();
    assert!(left[..256 << 10].iter().all(|&byte| byte == 0));
}
