//! Backing up.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::fixture::{Fixture, Ran, noise};

const MIB: usize = 1 << 20;

#[test]
fn a_backup_answers_with_the_documented_keys() {
    let fixture = Fixture::new();
    let mut content = noise(1, 3 * MIB);
    content.resize(8 * MIB, 0);
    let source = fixture.image("source", &content);
    let report =
        fixture.job(&["backup", "create", &source, "--label", "app=db", "--ttl", "720h"]).json();
    for key in [
        "id",
        "job",
        "source",
        "sourceUuid",
        "host",
        "tier",
        "reason",
        "totalBytes",
        "readBytes",
        "newBytes",
        "storedBytes",
        "seconds",
        "freezeMillis",
        "warnings",
    ] {
        assert!(report.get(key).is_some(), "{key} is missing in {report}");
    }
    assert_eq!(report["source"], source);
    assert_eq!(report["totalBytes"], 8 * MIB);
    assert_eq!(report["newBytes"], 3 * MIB, "zeroes are never stored");
    assert_eq!(
        (&report["tier"], &report["reason"]),
        (&"full".into(), &"copy-method-direct".into())
    );

    let list = fixture.job(&["backup", "list"]).json();
    let backup = &list["backups"][0];
    for key in ["id", "source", "host", "createdAt", "mode", "tier", "totalBytes", "storedBytes"] {
        assert!(backup.get(key).is_some(), "{key} is missing in {backup}");
    }
    assert_eq!((&backup["id"], &backup["labels"]["app"]), (&report["id"], &"db".into()));
    let shown = fixture.job(&["backup", "show", &report["id"].as_str().unwrap()[..8]]).json();
    assert_eq!((&shown["id"], &shown["ttl"]), (&report["id"], &"720h".into()));
}

#[test]
fn what_the_repository_knows_is_not_stored_again() {
    let fixture = Fixture::new();
    let source = fixture.image("source", &noise(1, 3 * MIB));
    let first = fixture.back_up(&source);
    let again = fixture.job(&["backup", "create", &source]).json();
    assert_eq!((&again["newBytes"], &again["storedBytes"]), (&0.into(), &0.into()));
    let shown = fixture.job(&["backup", "show", again["id"].as_str().unwrap()]).json();
    assert_eq!(shown["previous"], first, "a manifest names the volume's previous backup");
}

#[test]
fn several_sources_answer_with_an_array() {
    let fixture = Fixture::new();
    let sources = [fixture.image("a", &noise(1, MIB)), fixture.image("b", &noise(2, MIB))];
    let reports = fixture.job(&["backup", "create", &sources[0], &sources[1]]).json();
    let named: Vec<_> = reports
        .as_array()
        .unwrap()
        .iter()
        .map(|report| report["source"].as_str().unwrap())
        .collect();
    assert_eq!(named, sources);
}

#[test]
fn progress_goes_to_stderr_as_json_lines_where_asked_and_else_nowhere_in_a_pipe() {
    let fixture = Fixture::new();
    let source = fixture.image("source", &noise(1, MIB));
    let quiet = fixture.job(&["backup", "create", &source]).succeeded();
    assert_eq!(quiet.stderr, "");
    let told = fixture.job(&["backup", "create", &source, "--progress", "json"]).succeeded();
    told.document();
    let last: serde_json::Value =
        serde_json::from_str(told.stderr.lines().last().unwrap()).unwrap();
    assert_eq!((&last["bytesDone"], &last["totalBytes"]), (&MIB.into(), &MIB.into()));
}

#[test]
fn a_second_upload_of_one_source_is_refused_while_the_first_runs() {
    let fixture = Fixture::new();
    let source = fixture.image("source", &noise(1, MIB));
    let held = File::open(&source).unwrap();
    held.lock().unwrap();
    fixture.job(&["backup", "create", &source]).failed(4, "busy", &source);
    assert!(fixture.listed().is_empty());
    drop(held);
    fixture.back_up(&source);
}

/// Terminates an upload as soon as it waits for its first progress to be read, or, `early`, as soon as
/// the signal would not kill it any more: while the key is derived.
fn terminate(early: bool) {
    let fixture = Fixture::new();
    let source = fixture.arg("source");
    // Holes: long to read, nothing to store.
    File::create(&source).unwrap().set_len(1 << 40).unwrap();
    let url = fixture.url();
    let words = ["backup", "create", &source, "--standalone", "--json", "--repo", &url];
    let mut command = fixture.command(&words);
    command.args(["--progress", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut progress = BufReader::new(child.stderr.take().unwrap());
    if early {
        while !catches_sigterm(child.id()) {
            assert!(child.try_wait().unwrap().is_none(), "it ended before");
            std::thread::sleep(Duration::from_millis(1));
        }
    } else {
        let mut line = String::new();
        while !line.contains("bytesDone") {
            line.clear();
            assert!(progress.read_line(&mut line).unwrap() > 0, "it ended before");
        }
    }
    let pid = child.id().to_string();
    Ran::of(Command::new("kill").args(["-TERM", &pid])).succeeded();
    let mut stderr = String::new();
    progress.read_to_string(&mut stderr).unwrap();
    let output = child.wait_with_output().unwrap();
    let code = output.status.code().unwrap_or(-1);
    let ran = Ran { code, stdout: String::from_utf8(output.stdout).unwrap(), stderr };
    ran.failed(1, "canceled", "SIGTERM");
    assert!(fixture.listed().is_empty());
}

/// Whether a process has a handler of SIGTERM (proc(5), `SigCgt`).
fn catches_sigterm(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (15 - 1)) != 0
}

#[test]
fn a_terminated_upload_ends_cleanly_and_lists_nothing() {
    terminate(false);
}

#[test]
fn an_upload_that_is_terminated_before_its_repository_is_open_ends_cleanly() {
    terminate(true);
}

#[test]
fn a_deleted_backup_is_listed_no_more_and_not_missed() {
    let fixture = Fixture::new();
    let source = fixture.image("source", &noise(1, MIB));
    let first = fixture.back_up(&source);
    fixture.job(&["backup", "delete", &first]).failed(4, "confirmation-needed", &first);
    fixture.job(&["backup", "delete", &first, "--dry-run"]).succeeded();
    assert_eq!(fixture.listed(), std::slice::from_ref(&first));
    fixture.job(&["backup", "delete", &first, "--yes"]).succeeded();
    assert!(fixture.listed().is_empty());
    fixture.back_up(&source);
}

#[test]
fn a_lost_last_backup_is_told_of() {
    let fixture = Fixture::new();
    let source = fixture.image("source", &noise(1, MIB));
    let first = fixture.back_up(&source);
    std::fs::remove_file(&fixture.objects("outcome")[0]).unwrap();
    assert!(fixture.listed().is_empty());
    let ran = fixture.job(&["backup", "create", &source]);
    assert_eq!(ran.code, 5, "{ran:#?}");
    assert!(ran.document()["warnings"][0].as_str().unwrap().contains(&first));
}

#[test]
fn what_has_to_go_through_the_page_cache_says_so() {
    let fixture = Fixture::new();
    for (length, page_cache) in [(64 << 10, false), ((64 << 10) + 100, true)] {
        let source = fixture.image("source", &noise(3, length));
        let report = fixture.job(&["backup", "create", &source]).json();
        assert_eq!(report["pageCache"], page_cache, "{report}");
        let args = ["backup", "create", &source, "--standalone", "--repo", &fixture.url()];
        let ran = fixture.run(&args).succeeded();
        assert_eq!(ran.stdout.contains("page cache"), page_cache, "{ran:#?}");
    }
}
