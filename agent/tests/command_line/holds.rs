//! `backup hold` and `unhold`: a held backup stays.

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::damage::cut_short;
use crate::fixture::{Fixture, noise};

fn first(list: &Value) -> &Value {
    &list["backups"][0]
}

#[test]
fn a_held_backup_is_deleted_only_once_its_hold_is_lifted() {
    let fixture = Fixture::new();
    let source = fixture.image("source", &noise(1, 1000));
    let id = fixture.back_up(&source);
    let held = fixture.job(&["backup", "hold", &id[..8], "audit 7"]).json();
    assert_eq!(held, json!({"id": id, "reason": "audit 7"}));
    // Again, for the same reason.
    fixture.job(&["backup", "hold", &id, "audit 7"]).succeeded();
    fixture.job(&["backup", "hold", &id, "migration"]).failed(4, "held", "audit 7");

    for more in [&["--yes"][..], &["--yes", "--dry-run"], &[]] {
        let refused = fixture.job(&[&["backup", "delete", &id], more].concat());
        let refused = refused.failed(4, "held", "audit 7");
        assert!(refused.stderr.contains("backup unhold"), "{refused:#?}");
    }
    assert_eq!(fixture.listed(), std::slice::from_ref(&id));

    let unheld = fixture.job(&["backup", "unhold", &id[..8]]).json();
    assert_eq!(unheld, json!({"id": id}));
    fixture.job(&["backup", "unhold", &id]).failed(3, "not-found", "is not held");
    fixture.job(&["backup", "delete", &id, "--yes"]).succeeded();
    fixture.job(&["backup", "hold", &id, "audit 7"]).failed(3, "not-found", &id);
    fixture.job(&["backup", "unhold", &id]).failed(3, "not-found", &id);
}

#[test]
fn a_reason_is_needed() {
    let fixture = Fixture::new();
    let id = fixture.back_up(&fixture.image("source", &noise(1, 1000)));
    fixture.job(&["backup", "hold", &id]).failed(2, "usage", "required");
    for reason in ["", " ", "two\nlines", "\u{1b}[2J"] {
        fixture.job(&["backup", "hold", &id, reason]).failed(2, "usage", "reason");
    }
    let list = fixture.job(&["backup", "list"]).json();
    assert!(first(&list).get("hold").is_none());
}

#[test]
fn a_hold_is_shown_where_there_is_one() {
    let fixture = Fixture::new();
    let id = fixture.back_up(&fixture.image("source", &noise(1, 1000)));
    let url = fixture.url();
    let text =
        |words: &[&str]| fixture.run(&[words, &["--repo", &url]].concat()).succeeded().stdout;
    assert!(!text(&["backup", "list"]).contains("HELD"));
    fixture.job(&["backup", "hold", &id, "audit 7"]).succeeded();
    let list = text(&["backup", "list"]);
    assert!(list.lines().next().unwrap().ends_with("HELD"), "{list}");
    assert!(list.lines().nth(1).unwrap().ends_with("audit 7"), "{list}");
    let shown = text(&["backup", "show", &id]);
    let line = shown.lines().find(|line| line.starts_with("held ")).unwrap();
    assert!(line.contains("audit 7 (by "), "{line}");

    let list = fixture.job(&["backup", "list"]).json();
    let shown = fixture.job(&["backup", "show", &id]).json();
    for backup in [first(&list), &shown] {
        let hold = &backup["hold"];
        assert_eq!(hold["reason"], "audit 7");
        assert!(!hold["client"].as_str().unwrap().is_empty());
        hold["heldAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    }
}

#[test]
fn prune_keeps_what_is_held_whatever_its_ttl() {
    let fixture = Fixture::new();
    let source = fixture.image("source", &noise(1, 1000));
    let create = ["backup", "create", &source, "--ttl", "1ms"];
    let [held, other] =
        [(); 2].map(|()| fixture.job(&create).json()["id"].as_str().unwrap().to_owned());
    fixture.job(&["backup", "hold", &held, "audit 7"]).succeeded();
    let pruned = fixture.job(&["backup", "prune", "--yes"]).json();
    assert_eq!(pruned["deleted"][0]["id"], other);
    assert_eq!(pruned["kept"][0]["id"], held);
    assert_eq!(pruned["kept"][0]["reasons"], json!(["held: audit 7"]));
    assert_eq!(fixture.listed(), [held]);
}

#[test]
fn what_cannot_be_read_can_be_held_and_a_hold_that_cannot_be_read_holds() {
    let fixture = Fixture::new();
    let id = fixture.back_up(&fixture.image("source", &noise(1, 1000)));
    cut_short(&fixture.objects("outcome")[0]);
    fixture.job(&["backup", "hold", &id, "audit 7"]).succeeded();
    fixture.job(&["backup", "delete", &id, "--yes"]).failed(4, "held", "audit 7");
    cut_short(&fixture.objects("retention")[0]);
    fixture.job(&["backup", "delete", &id, "--yes"]).failed(4, "held", "cannot be read");
    fixture.job(&["backup", "unhold", &id]).succeeded();
    fixture.job(&["backup", "delete", &id, "--yes"]).succeeded();
}

#[test]
fn the_agent_holds_as_well() {
    let agent = Agent::start();
    let source = agent.fixture.image("source", &noise(1, 1000));
    let report = agent.ask(&["backup", "create", &source]).json();
    let id = report["id"].as_str().unwrap();
    let held = agent.ask(&["backup", "hold", &id[..8], "audit 7"]).json();
    assert_eq!(held, json!({"id": id, "reason": "audit 7"}));
    let list = agent.ask(&["backup", "list"]).json();
    assert_eq!(first(&list)["hold"]["reason"], "audit 7");
    agent.ask(&["backup", "hold", id, "migration"]).failed(4, "held", "audit 7");
    agent.ask(&["backup", "delete", id, "--yes"]).failed(4, "held", "audit 7");
    agent.ask(&["backup", "unhold", &id[..8]]).succeeded();
    agent.ask(&["backup", "unhold", id]).failed(3, "not-found", "is not held");
    agent.ask(&["backup", "delete", id, "--yes"]).succeeded();
}

#[test]
fn the_api_takes_whole_ids_and_answers_409_for_what_is_held() {
    let agent = Agent::start();
    let source = agent.fixture.image("source", &noise(1, 1000));
    let report = agent.ask(&["backup", "create", &source]).json();
    let id = report["id"].as_str().unwrap();
    let (backup, hold) = (format!("/v1/backups/{id}"), format!("/v1/backups/{id}/hold"));
    let audit = json!({"reason": "audit 7"});
    let begun = format!("/v1/backups/{}/hold", &id[..8]);
    for (method, path, body, status, code) in [
        ("PUT", &begun, &audit, 400, "usage"),
        ("PUT", &hold, &json!({}), 400, "usage"),
        ("PUT", &hold, &json!({"reason": 7}), 400, "usage"),
        ("PUT", &hold, &json!({"reason": "x", "until": "2027"}), 400, "usage"),
        ("DELETE", &hold, &Value::Null, 404, "not-found"),
    ] {
        let (found, answer) = agent.call(method, path, body);
        assert_eq!((found, &answer["error"]["code"]), (status, &code.into()), "{body} {answer}");
    }

    let (status, answer) = agent.call("PUT", &hold, &audit);
    assert_eq!((status, &answer["id"], &answer["reason"]), (200, &id.into(), &"audit 7".into()));
    assert!(answer["heldAt"].is_string() && answer["client"].is_string(), "{answer}");
    assert_eq!(agent.call("PUT", &hold, &audit), (200, answer));
    for (method, path, body) in
        [("PUT", &hold, &json!({"reason": "migration"})), ("DELETE", &backup, &Value::Null)]
    {
        let (status, answer) = agent.call(method, path, body);
        assert_eq!((status, &answer["error"]["code"]), (409, &"held".into()), "{answer}");
    }
    assert_eq!(agent.call("GET", &backup, &Value::Null).1["hold"]["reason"], "audit 7");
    assert_eq!(agent.call("DELETE", &begun, &Value::Null).0, 400);
    assert_eq!(agent.call("DELETE", &hold, &Value::Null).0, 200);
    assert_eq!(agent.call("DELETE", &backup, &Value::Null).0, 200);
}
