//! Making and opening repositories.

use std::fs;

use crate::fixture::{Fixture, noise};

#[test]
fn a_new_repository_says_what_it_is() {
    let fixture = Fixture::empty();
    let url = fixture.url();
    let init =
        fixture.run(&["repo", "init", &url, "--json", "--encryption", "chacha20-poly1305"]).json();
    let status = fixture.run(&["repo", "status", "--repo", &url, "--json"]).json();
    assert_eq!(init, status);
    for key in [
        "url",
        "id",
        "formatVersion",
        "hash",
        "encryption",
        "splitter",
        "compression",
        "conditionalWrites",
        "backups",
        "storedBytes",
    ] {
        assert!(status.get(key).is_some(), "{key} is missing in {status}");
    }
    assert_eq!((&status["url"], &status["formatVersion"]), (&url.into(), &1.into()));
    assert_eq!(status["encryption"], "chacha20-poly1305");
    let source = fixture.image("source", &noise(1, 1000));
    let id = fixture.back_up(&source);
    fixture.job(&["backup", "verify", &id]).succeeded();
}

#[test]
fn init_never_touches_what_is_there() {
    let fixture = Fixture::new();
    let id = fixture.back_up(&fixture.image("source", &noise(1, 1000)));
    let objects = fixture.objects("repository");
    let again = fixture.run(&["repo", "init", &fixture.url(), "--json"]);
    again.failed(4, "exists", &fixture.url());
    assert_eq!(fixture.objects("repository"), objects);
    fixture.job(&["backup", "verify", &id]).succeeded();
}

#[test]
fn init_refuses_a_folder_that_holds_something_else() {
    let fixture = Fixture::empty();
    fs::create_dir(fixture.path("repository")).unwrap();
    fs::write(fixture.path("repository").join("holiday.jpg"), "a beach").unwrap();
    fixture.run(&["repo", "init", &fixture.url(), "--json"]).failed(4, "exists", &fixture.url());
    assert_eq!(fs::read_dir(fixture.path("repository")).unwrap().count(), 1);
}

#[test]
fn what_is_no_repository_is_not_found() {
    let fixture = Fixture::empty();
    fixture.job(&["repo", "status"]).failed(3, "not-found", &fixture.url());
    fs::create_dir(fixture.path("repository")).unwrap();
    fixture.job(&["backup", "list"]).failed(3, "not-found", &fixture.url());
    assert_eq!(fs::read_dir(fixture.path("repository")).unwrap().count(), 0);
}

#[test]
fn a_wrong_passphrase_opens_nothing() {
    let fixture = Fixture::new();
    fs::write(fixture.path("password"), "open barley\n").unwrap();
    fixture.job(&["backup", "list"]).failed(1, "wrong-passphrase", &fixture.url());
}

#[test]
fn a_newer_format_is_refused() {
    let fixture = Fixture::new();
    let config = fixture.path("repository").join("config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"version\":1", "\"version\":2")).unwrap();
    fixture.job(&["backup", "list"]).failed(1, "newer-format", "2");
}

#[test]
fn a_changed_configuration_is_damage() {
    let fixture = Fixture::new();
    let config = fixture.path("repository").join("config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("aes-256-gcm", "chacha20-poly1305")).unwrap();
    let ran = fixture.job(&["backup", "list"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
}
