//! What is refused, with nothing changed.

use std::fs;

use crate::fixture::{Fixture, noise};

const MIB: usize = 1 << 20;

#[test]
fn a_target_that_is_too_small_is_refused() {
    let fixture = Fixture::new();
    let id = fixture.back_up(&fixture.image("source", &noise(1, MIB)));
    let before = noise(2, MIB - 1);
    let target = fixture.image("target", &before);
    for consent in [&["--yes"][..], &[]] {
        let args = [&["restore", &id, &target], consent].concat();
        fixture.job(&args).failed(4, "target-too-small", &target);
        assert!(fs::read(&target).unwrap() == before);
    }
}

#[test]
fn a_target_that_holds_data_needs_consent() {
    let fixture = Fixture::new();
    let id = fixture.back_up(&fixture.image("source", &noise(1, MIB)));
    // A single byte at the very end is data.
    let mut before = vec![0; 2 * MIB];
    before[2 * MIB - 1] = 1;
    let target = fixture.image("target", &before);
    fixture.job(&["restore", &id, &target]).failed(4, "confirmation-needed", &target);
    assert!(fs::read(&target).unwrap() == before);
}

#[test]
fn the_source_itself_is_named_as_such_before_it_is_overwritten() {
    let fixture = Fixture::new();
    let content = noise(1, MIB);
    let source = fixture.image("source", &content);
    let id = fixture.back_up(&source);
    fixture.job(&["restore", &id, &source]).failed(
        4,
        "confirmation-needed",
        "what this backup was taken from",
    );
    assert!(fs::read(&source).unwrap() == content);
}

#[test]
fn a_folder_is_neither_source_nor_target() {
    let fixture = Fixture::new();
    let id = fixture.back_up(&fixture.image("source", &noise(1, MIB)));
    let folder = fixture.arg("state");
    fixture.job(&["backup", "create", &folder]).failed(4, "unsuitable", &folder);
    fixture.job(&["restore", &id, &folder, "--yes"]).failed(4, "unsuitable", &folder);
}

#[test]
fn what_is_not_there_is_not_found() {
    let fixture = Fixture::new();
    let missing = fixture.arg("missing");
    fixture.job(&["backup", "create", &missing]).failed(3, "not-found", &missing);
    for args in [
        &["backup", "show", "0123abcd"][..],
        &["backup", "verify", "0123abcd"],
        &["backup", "delete", "0123abcd", "--yes"],
        &["restore", "0123abcd", &missing],
    ] {
        fixture.job(args).failed(3, "not-found", "0123abcd");
    }
    assert!(!fixture.path("missing").exists());
}

#[test]
fn an_id_that_begins_several_backups_is_ambiguous() {
    let fixture = Fixture::new();
    let source = fixture.image("source", &noise(1, 1000));
    // With seventeen ids two begin with the same hex digit.
    let ids: Vec<_> = (0..17).map(|_| fixture.back_up(&source)).collect();
    let twice = ids
        .iter()
        .map(|id| &id[..1])
        .find(|digit| ids.iter().filter(|id| id.starts_with(digit)).count() > 1)
        .unwrap();
    fixture.job(&["backup", "show", twice]).failed(4, "ambiguous", twice);
}

#[test]
fn a_snapshot_of_what_is_no_volume_is_refused() {
    let fixture = Fixture::new();
    let source = fixture.image("source", &noise(1, 1000));
    fixture.job(&["backup", "create", &source, "--copy-method", "snapshot"]).failed(
        4,
        "unsuitable",
        &source,
    );
}

#[test]
fn an_image_block_outside_the_format_or_the_memory_is_refused() {
    let fixture = Fixture::new();
    let source = fixture.image("source", &noise(1, 100_000));
    let sized = |size: &str| fixture.job(&["backup", "create", &source, "--block-size", size]);
    for size in ["16MiB", "1TiB", "3000", "32KiB"] {
        sized(size).failed(2, "usage", "from 64 KiB to 8 MiB");
    }
    let id = sized("8MiB").json()["id"].as_str().unwrap().to_owned();

    let config = fixture.path("config.toml");
    let text = fs::read_to_string(&config).unwrap() + "[data_path]\nmemory = \"48MiB\"\n";
    fs::write(&config, text).unwrap();
    let target = fixture.arg("target");
    sized("8MiB").failed(4, "unsuitable", "data_path.memory");
    fixture.job(&["restore", &id, &target]).failed(4, "unsuitable", "data_path.memory");
    assert!(!fixture.path("target").exists());
    fixture.back_up(&source);
}
