//! Restoring.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::fixture::{Fixture, noise};

const MIB: usize = 1 << 20;

#[test]
fn images_of_any_size_come_back_byte_for_byte() {
    let fixture = Fixture::new();
    for (seed, size) in (1..).zip([1, 511, 4096, 262_143, 262_144, 262_145, 3 * MIB + 1000]) {
        let content = noise(seed, size);
        let source = fixture.image(&format!("source-{size}"), &content);
        let id = fixture.back_up(&source);
        let target = fixture.arg(&format!("target-{size}"));
        fixture.job(&["restore", &id, &target]).succeeded();
        assert!(fs::read(&target).unwrap() == content, "size {size}");
    }
}

#[test]
fn a_new_file_is_sparse_where_the_backup_has_holes() {
    let fixture = Fixture::new();
    let mut content = noise(1, MIB);
    content.resize(64 * MIB, 0);
    content.extend(noise(2, MIB));
    let id = fixture.back_up(&fixture.image("source", &content));
    let target = fixture.arg("target");
    let report = fixture.job(&["restore", &id, &target]).json();
    assert_eq!((&report["id"], &report["writtenBytes"]), (&id.into(), &(2 * MIB).into()));
    assert!(fs::read(&target).unwrap() == content);
    assert!(fs::metadata(&target).unwrap().blocks() * 512 < 4 * MIB as u64);
}

#[test]
fn an_overwritten_target_holds_the_backup_and_zeroes_behind_it() {
    let fixture = Fixture::new();
    let mut content = noise(1, MIB);
    content.resize(5 * MIB, 0);
    content.extend(noise(2, 1000));
    let id = fixture.back_up(&fixture.image("source", &content));
    for size in [content.len(), 9 * MIB] {
        let target = fixture.image("target", &noise(3, size));
        fixture.job(&["restore", &id, &target, "--yes"]).succeeded();
        let mut expected = content.clone();
        expected.resize(size, 0);
        assert!(fs::read(&target).unwrap() == expected, "target of {size}");
    }
}

#[test]
fn of_a_target_that_is_nearly_the_backup_only_what_differs_is_written() {
    let fixture = Fixture::new();
    let mut content = noise(1, 3 * MIB);
    content.resize(7 * MIB, 0);
    content.extend(noise(2, MIB));
    let id = fixture.back_up(&fixture.image("source", &content));
    let mut there = content.clone();
    // In a block of data, and two beside each other that should be holes.
    there[MIB + 17] ^= 1;
    there[4 * MIB..4 * MIB + 300_000].fill(7);
    let target = fixture.image("target", &there);
    let words = ["restore", id.as_str(), &target, "--mode", "delta"];
    fixture.job(&words).failed(4, "confirmation-needed", "holds data");
    let planned = fixture.job(&[&words[..], &["--dry-run"]].concat()).json();
    assert_eq!(planned["differingBytes"], 3 * (256 << 10));
    assert!(fs::read(&target).unwrap() == there);

    let report = fixture.job(&[&words[..], &["--yes"]].concat()).json();
    assert!(fs::read(&target).unwrap() == content);
    assert_eq!(report["differingBytes"], 3 * (256 << 10));
    assert_eq!((&report["tier"], &report["mode"]), (&"full".into(), &"delta".into()));
    // The first block is written along, last.
    assert!(report["writtenBytes"].as_u64().unwrap() <= 3 * (256 << 10), "{report}");
    let again = fixture.job(&[&words[..], &["--yes"]].concat()).json();
    assert_eq!((&again["writtenBytes"], &again["differingBytes"]), (&0.into(), &0.into()));
    fixture.job(&[&words[..], &["--yes", "--undo"]].concat()).failed(4, "unsuitable", "snapshot");
}

#[test]
fn a_blank_target_needs_no_consent() {
    let fixture = Fixture::new();
    let content = noise(1, MIB);
    let id = fixture.back_up(&fixture.image("source", &content));
    let target = fixture.image("target", &vec![0; 2 * MIB]);
    fixture.job(&["restore", &id, &target]).succeeded();
    assert!(fs::read(&target).unwrap()[..MIB] == content);
}

#[test]
fn a_dry_run_writes_nothing() {
    let fixture = Fixture::new();
    let id = fixture.back_up(&fixture.image("source", &noise(1, MIB)));
    let before = noise(2, MIB);
    let target = fixture.image("target", &before);
    let report = fixture.job(&["restore", &id, &target, "--dry-run"]).json();
    assert_eq!((&report["dryRun"], &report["blank"]), (&true.into(), &false.into()));
    assert!(fs::read(&target).unwrap() == before);
    fixture.job(&["restore", &id, &fixture.arg("new"), "--dry-run"]).succeeded();
    assert!(!fixture.path("new").exists());
}

#[test]
fn latest_means_the_targets_own_last_backup_and_goes_back_on_request() {
    let fixture = Fixture::new();
    let versions: Vec<_> = (1..=3).map(|seed| noise(seed, MIB)).collect();
    let mut times = Vec::new();
    for content in &versions {
        fixture.back_up(&fixture.image("volume", content));
        let list = fixture.job(&["backup", "list"]).json();
        times.push(list["backups"].as_array().unwrap().last().unwrap()["createdAt"].clone());
    }
    let volume = fixture.arg("volume");
    let restored = |args: &[&str]| {
        fs::write(&volume, noise(9, MIB)).unwrap();
        fixture.job(&[&["restore", "latest", &volume, "--yes"], args].concat()).succeeded();
        let content = fs::read(&volume).unwrap();
        versions.iter().position(|version| *version == content)
    };
    assert_eq!(restored(&[]), Some(2));
    assert_eq!(restored(&["--previous", "1"]), Some(1));
    assert_eq!(restored(&["--as-of", times[1].as_str().unwrap()]), Some(1));
    assert_eq!(restored(&["--as-of", times[1].as_str().unwrap(), "--previous", "1"]), Some(0));
    fixture.job(&["restore", "latest", &volume, "--yes", "--previous", "3"]).failed(
        3,
        "not-found",
        &volume,
    );
}

#[test]
fn a_backup_of_another_host_is_only_meant_when_it_is_named() {
    let fixture = Fixture::new();
    let id = fixture.back_up(&fixture.image("volume", &noise(1, MIB)));
    let host = fixture.job(&["backup", "list"]).json()["backups"][0]["hostId"].clone();
    // From now on this is another host.
    fs::remove_dir_all(fixture.path("state")).unwrap();
    let volume = fixture.arg("volume");
    fixture.job(&["restore", "latest", &volume, "--yes"]).failed(3, "not-found", &volume);
    let named = ["restore", "latest", &volume, "--yes", "--host", host.as_str().unwrap()];
    assert_eq!(fixture.job(&named).json()["id"], id);
}
