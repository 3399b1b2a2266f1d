//! `deletionPolicy`: what becomes of a backup when its upload is deleted.

use std::fs;

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::fixture::noise;

/// Has an upload made with this policy. Returns its path and its backup.
fn upload(agent: &Agent, id: &str, policy: Option<&str>) -> (String, String) {
    let source = agent.fixture.image("source", &noise(1, 1000));
    let mut spec = json!({"source": {"volume": source}});
    if let Some(policy) = policy {
        spec["deletionPolicy"] = policy.into();
    }
    let path = format!("/v1/uploads/{id}");
    let (status, answer) = agent.call("PUT", &path, &json!({"spec": spec}));
    assert_eq!(status, 201, "{answer}");
    agent.wait_for_phase(id, "Completed");
    let (_, upload) = agent.call("GET", &path, &Value::Null);
    (path, upload["status"]["snapshotID"].as_str().unwrap().to_owned())
}

fn delete(agent: &Agent, path: &str) -> (u16, Value) {
    agent.call("DELETE", path, &Value::Null)
}

/// Deletes an upload that stays for this reason.
fn stays(agent: &Agent, path: &str, status: u16, code: &str) {
    let (found, answer) = delete(agent, path);
    assert_eq!((found, &answer["error"]["code"]), (status, &code.into()), "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("stays on record"), "{answer}");
    assert_eq!(agent.call("GET", path, &Value::Null).0, 200);
}

fn goes(agent: &Agent, path: &str) {
    let (status, answer) = delete(agent, path);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(agent.call("GET", path, &Value::Null).0, 404);
}

#[test]
fn a_backup_goes_with_its_upload_only_where_that_says_so() {
    let agent = Agent::start();
    let kept = [None, Some("Retain")].map(|policy| {
        let (path, backup) = upload(&agent, "kept", policy);
        goes(&agent, &path);
        backup
    });
    let (path, _) = upload(&agent, "gone", Some("Delete"));
    assert_eq!(agent.fixture.listed().len(), 3);
    goes(&agent, &path);
    assert_eq!(agent.fixture.listed(), kept);
    // What was never made keeps nobody.
    let spec = json!({"source": {"volume": "/nowhere"}, "deletionPolicy": "Delete"});
    agent.call("PUT", "/v1/uploads/failed", &json!({"spec": spec}));
    agent.wait_for_phase("failed", "Failed");
    goes(&agent, "/v1/uploads/failed");
    // Nor does what somebody else has deleted.
    let (path, backup) = upload(&agent, "gone", Some("Delete"));
    agent.ask(&["backup", "delete", &backup, "--yes"]).succeeded();
    goes(&agent, &path);
    assert_eq!(agent.fixture.listed(), kept);
}

#[test]
fn an_upload_whose_backup_is_held_stays_until_the_hold_is_lifted() {
    let agent = Agent::start();
    let (path, backup) = upload(&agent, "one", Some("Delete"));
    agent.ask(&["backup", "hold", &backup, "audit 7"]).succeeded();
    stays(&agent, &path, 409, "held");
    assert_eq!(agent.fixture.listed(), std::slice::from_ref(&backup));
    agent.ask(&["backup", "unhold", &backup]).succeeded();
    goes(&agent, &path);
    assert!(agent.fixture.listed().is_empty());
}

#[test]
fn an_upload_whose_repository_is_out_of_reach_stays() {
    for is_open in [false, true] {
        let agent = Agent::start();
        let (path, _) = upload(&agent, "one", Some("Delete"));
        if is_open {
            agent.ask(&["backup", "list"]).succeeded();
        }
        let (there, away) = (agent.fixture.path("repository"), agent.fixture.path("away"));
        fs::rename(&there, &away).unwrap();
        stays(&agent, &path, 500, "failed");
        // Another one in its place does not count.
        agent.fixture.run(&["repo", "init", &agent.fixture.url()]).succeeded();
        stays(&agent, &path, 409, "unsuitable");
        fs::remove_dir_all(&there).unwrap();
        fs::rename(&away, &there).unwrap();
        goes(&agent, &path);
        assert!(agent.fixture.listed().is_empty());
    }
}

#[test]
fn a_policy_that_could_not_be_kept_is_refused() {
    let agent = Agent::start();
    let source = agent.fixture.image("source", &noise(1, 1000));
    let put = |spec: &Value| {
        let body = json!({"spec": spec, "credentials": {"passphrase": "open sesame"}});
        agent.call("PUT", "/v1/uploads/one", &body)
    };
    for repository in [agent.fixture.url(), "home".to_owned()] {
        let spec = json!({"source": {"volume": source}, "repository": repository,
            "deletionPolicy": "Delete"});
        let (status, answer) = put(&spec);
        assert_eq!((status, &answer["error"]["code"]), (400, &"usage".into()), "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("is not kept"), "{answer}");
    }
    assert_eq!(put(&json!({"source": {"volume": source}, "deletionPolicy": "keep"})).0, 400);
    assert_eq!(agent.call("GET", "/v1/uploads/one", &Value::Null).0, 404);
}
