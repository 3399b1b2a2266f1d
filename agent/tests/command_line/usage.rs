//! What is wrong with how it was called.

use std::fs;

use crate::fixture::{Fixture, noise};

#[test]
fn jobs_need_the_agent_or_standalone() {
    let fixture = Fixture::new();
    let source = fixture.image("source", &noise(1, 1000));
    let url = fixture.url();
    for args in [
        &["backup", "create", &source, "--repo", &url][..],
        &["restore", "latest", &source, "--repo", &url],
        &["pools"],
        &["volumes"],
        &["snapshot", "list"],
    ] {
        let ran = fixture.run(&[args, &["--json"]].concat()).failed(1, "no-daemon", "api.sock");
        assert!(ran.stderr.contains("--standalone"), "{ran:#?}");
    }
    assert!(fixture.listed().is_empty());
}

#[test]
fn a_repository_has_to_be_named() {
    let fixture = Fixture::new();
    let list = |repo: &[&str]| fixture.run(&[&["backup", "list", "--json"], repo].concat());
    list(&[]).failed(2, "usage", "no repository");
    list(&["--repo", "nowhere"]).failed(2, "usage", "nowhere");
    list(&["--repo", "ftp://host/backup"]).failed(2, "usage", "ftp");
    list(&["--repo", &fixture.arg("repository")]).failed(2, "usage", "repository");
}

#[test]
fn a_configured_repository_is_found_by_name_and_by_default() {
    let fixture = Fixture::new();
    let config = fixture.path("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let repository = format!(
        "{text}[repositories.home]\nurl = {:?}\npassword_file = {:?}\n",
        fixture.url(),
        fixture.arg("password")
    );
    fs::write(&config, repository).unwrap();
    let config = config.display().to_string();
    for named in [&["--repo", "home"][..], &[]] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_thinmover"));
        command.args(["--config", &config, "--standalone", "backup", "list", "--json"]).args(named);
        crate::fixture::Ran::of(&mut command).succeeded();
    }
}

#[test]
fn a_mistake_on_the_command_line_is_exit_2_and_json_where_asked() {
    let fixture = Fixture::empty();
    for args in [&["backup", "creat"][..], &["backup", "create"], &["--no-such-option"]] {
        let plain = fixture.run(args);
        assert_eq!((plain.code, plain.stdout.as_str()), (2, ""), "{plain:#?}");
        fixture.run(&[args, &["--json"]].concat()).failed(2, "usage", "");
    }
}

#[test]
fn modes_that_are_there_can_be_named_and_others_are_refused() {
    let fixture = Fixture::new();
    let source = fixture.image("source", &noise(1, 1000));
    let report = fixture.job(&["backup", "create", &source, "--mode", "block"]).json();
    let id = report["id"].as_str().unwrap();
    let target = fixture.arg("target");
    for mode in ["full", "delta"] {
        fixture.job(&["restore", id, &target, "--mode", mode, "--yes"]).succeeded();
    }
    fixture.job(&["backup", "create", &source, "--mode", "files"]).failed(2, "usage", "files");
    fixture.job(&["restore", id, &target, "--mode", "some"]).failed(2, "usage", "some");
}

#[test]
fn a_mistake_in_the_configuration_names_file_key_and_what_is_allowed() {
    let fixture = Fixture::empty();
    let config = fixture.arg("config.toml");
    fs::write(&config, "[pool]\nmax_dta_percent = 3\n").unwrap();
    let ran = fixture.run(&["repo", "init", &fixture.url(), "--json"]);
    let ran = ran.failed(2, "usage", &config);
    let message = ran.document()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("max_dta_percent") && message.contains("max_data_percent"));
}

#[test]
fn a_passphrase_is_never_taken_from_nowhere() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.path("password")).unwrap();
    fixture.job(&["backup", "list"]).failed(3, "not-found", &fixture.arg("password"));
    fs::write(fixture.path("password"), "\n").unwrap();
    fixture.job(&["backup", "list"]).failed(2, "usage", &fixture.arg("password"));
}

#[test]
fn help_and_version_are_answers() {
    let fixture = Fixture::empty();
    assert!(fixture.run(&["--help"]).succeeded().stdout.contains("backup"));
    assert!(fixture.run(&["--version"]).succeeded().stdout.starts_with("thinmover "));
}

#[test]
fn a_host_is_told_what_it_can_do() {
    let fixture = Fixture::new();
    let folder = fixture.path("").display().to_string();
    let io = ["benchmark", "io", "--json", "--folder", &folder, "--size", "5MiB"];
    for (args, least) in [(&["benchmark", "encryption", "--json"][..], 2), (&io, 2)] {
        let answer = fixture.run(args).json();
        let figures = answer["benchmarks"].as_array().unwrap();
        assert!(figures.len() >= least, "{answer}");
        assert!(figures.iter().all(|figure| figure["benchmark"] == args[1]), "{answer}");
        assert!(figures.iter().all(|figure| figure["bytesPerSecond"].as_u64() > Some(0)));
    }
    let run = |args: &[&str]| fixture.run(&[&["benchmark", "io", "--json"], args].concat());
    run(&["--folder", "/no/such/folder"]).failed(3, "not-found", "/no/such/folder");
    run(&["--folder", &folder, "--size", "0"]).failed(2, "usage", "1MiB");
}
