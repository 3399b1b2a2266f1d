//! `repo maintain` gives back what no backup needs; `repo session` says who is in its way.

use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::fixture::{Fixture, noise};

fn stored(fixture: &Fixture) -> u64 {
    fixture.job(&["repo", "status"]).json()["storedBytes"].as_u64().unwrap()
}

/// Begins an upload that takes longer than any test, and kills its process.
fn killed_upload(fixture: &Fixture) {
    File::create(fixture.path("endless")).unwrap().set_len(1 << 42).unwrap();
    let words = ["backup", "create", &fixture.arg("endless"), "--standalone"];
    let mut upload = fixture.command(&[&words[..], &["--repo", &fixture.url()]].concat());
    let mut upload = upload.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while fixture.objects("session").len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the upload did not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    upload.kill().unwrap();
    upload.wait().unwrap();
}

#[test]
fn what_was_deleted_is_given_back_and_all_else_stays() {
    let fixture = Fixture::new();
    let (kept, gone) = (noise(1, 3_000_000), noise(2, 8_000_000));
    let (kept_image, gone_image) = (fixture.image("kept", &kept), fixture.image("gone", &gone));
    let kept_id = fixture.back_up(&kept_image);
    let gone_id = fixture.back_up(&gone_image);
    let before = stored(&fixture);
    fixture.job(&["backup", "delete", &gone_id, "--yes"]).succeeded();

    let maintained = fixture.job(&["repo", "maintain"]).json();
    assert!(maintained["deletedBytes"].as_u64().unwrap() > 8_000_000, "{maintained}");
    assert_eq!(maintained["domains"][0]["end"], "finished");
    assert!(stored(&fixture) + 8_000_000 < before);
    assert_eq!(fixture.listed(), [kept_id.as_str()]);
    fixture.job(&["backup", "verify", &kept_id]).succeeded();
    fixture.job(&["restore", &kept_id, &fixture.arg("restored")]).succeeded();
    assert!(std::fs::read(fixture.path("restored")).unwrap() == kept);
    assert_eq!(fixture.job(&["repo", "session", "list"]).json()["sessions"], serde_json::json!([]));

    let idle = fixture.run(&["repo", "maintain", "--repo", &fixture.url()]).succeeded();
    assert!(idle.stdout.contains("nothing to do"), "{idle:?}");
    // What is new is known in the merged index.
    let again = fixture.job(&["backup", "create", &kept_image]).json();
    assert_eq!(again["newBytes"], 0, "{again}");
}

#[test]
fn an_upload_whose_process_died_is_waited_for_until_it_is_ended() {
    let fixture = Fixture::new();
    let gone = fixture.back_up(&fixture.image("gone", &noise(1, 1_000_000)));
    fixture.job(&["backup", "delete", &gone, "--yes"]).succeeded();
    killed_upload(&fixture);

    let waiting = fixture.job(&["repo", "maintain", "--wait", "0s"]);
    assert_eq!((waiting.code, &waiting.document()["domains"][0]["end"]), (5, &"waiting".into()));
    let sessions = fixture.job(&["repo", "session", "list"]).json();
    let session = &sessions["sessions"][0];
    let id = session["id"].as_str().unwrap();
    assert_eq!(waiting.document()["domains"][0]["waitingFor"], serde_json::json!([id]));
    assert_eq!(
        (&session["kind"], session["host"].as_str().unwrap().is_empty()),
        (&"upload".into(), false)
    );
    assert!(session["volume"].as_str().unwrap().contains("endless"), "{session}");

    let end = ["repo", "session", "end", &id[..8]];
    fixture.job(&end).failed(4, "confirmation-needed", id);
    fixture.job(&["repo", "session", "end", "00ff00ff", "--yes"]).failed(
        3,
        "not-found",
        "00ff00ff",
    );
    fixture.job(&[&end[..], &["--yes"]].concat()).succeeded();
    let maintained = fixture.job(&["repo", "maintain", "--wait", "0s"]).json();
    assert!(maintained["deletedBytes"].as_u64().unwrap() > 1_000_000, "{maintained}");
}

#[test]
fn an_upload_that_died_long_ago_is_ended_by_maintenance_itself() {
    let fixture = Fixture::new();
    fixture.back_up(&fixture.image("one", &noise(1, 1000)));
    killed_upload(&fixture);
    let words = ["repo", "maintain", "--wait", "0s", "--fence-after", "0s"];
    let maintained = fixture.job(&words).json();
    assert_eq!(maintained["domains"][0]["fenced"].as_array().unwrap().len(), 1, "{maintained}");
    assert_eq!(fixture.job(&["repo", "session", "list"]).json()["sessions"], serde_json::json!([]));
    fixture.job(&["repo", "maintain", "--scratch", "/nonexistent"]).succeeded();
    fixture.job(&["repo", "maintain", "--wait=-1s"]).failed(2, "usage", "shorter than nothing");
}
