//! The table's promises, without a job that runs.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::job::{Kind, Phase};
use super::spec::Plan;
use super::state::ChangeType;
use super::table::{NewJob, Submitted, Table};
use crate::engine::Scope;
use crate::failure::{Code, Failure, Result};
use crate::stream::Canceled;

fn load(state: &Path) -> Table {
    Table::load(state).unwrap().0
}

fn spec(volume: &str, extra: &str) -> Map<String, Value> {
    let spec = json!({"source": {"volume": volume}, "somethingNew": extra});
    spec.as_object().unwrap().clone()
}

fn submit(table: &Table, id: &str, spec: Map<String, Value>) -> Result<Submitted> {
    let plan = Plan::new(Kind::Upload, &spec)?;
    let (id, scope) = (id.to_owned(), Scope::Everything);
    table.submit(NewJob { id, kind: Kind::Upload, spec, plan, scope, passphrase: None }, "edge")
}

fn asked() -> Canceled {
    Canceled::Asked { by: "user 0".into() }
}

#[test]
fn the_same_request_again_is_the_same_job_and_another_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let table = load(state.path());
    let Ok(Submitted::Created(first)) = submit(&table, "a", spec("vg0/a", "x")) else { panic!() };
    let Ok(Submitted::Existing(again)) = submit(&table, "a", spec("vg0/a", "x")) else { panic!() };
    assert_eq!(first.resource_version, again.resource_version);
    // Fields that nobody here knows count, and are kept.
    let refused = submit(&table, "a", spec("vg0/a", "y")).err().unwrap();
    assert_eq!(refused.code, Code::Exists);
    assert_eq!(table.get("a").unwrap().job.spec["somethingNew"], "x");
}

#[test]
fn a_volume_has_one_upload_at_a_time() {
    let state = tempfile::tempdir().unwrap();
    let table = load(state.path());
    submit(&table, "a", spec("vg0/a", "")).ok().unwrap();
    assert_eq!(submit(&table, "b", spec("vg0/a", "")).err().unwrap().code, Code::Busy);
    submit(&table, "c", spec("vg0/c", "")).ok().unwrap();
    table.cancel("a", asked()).unwrap();
    submit(&table, "b", spec("vg0/a", "")).ok().unwrap();
}

#[test]
fn a_job_is_on_record_before_its_turn_and_interrupted_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    submit(&load(state.path()), "a", spec("vg0/a", "")).ok().unwrap();
    let table = load(state.path());
    assert!(table.next_turn(1).unwrap().is_none(), "what it needed died with the agent");
    let dead = table.interrupted();
    assert_eq!(dead.len(), 1);
    let failure = Failure::new(Code::Interrupted, "killed");
    table.conclude("a", |job| job.status.fail(Phase::Failed, failure)).unwrap();
    assert!(table.interrupted().is_empty());
    let reason = load(state.path()).get("a").unwrap().job.status.reason;
    assert_eq!(reason.as_deref(), Some("interrupted"));
}

#[test]
fn turns_come_in_order_and_no_more_than_may_run() {
    let state = tempfile::tempdir().unwrap();
    let table = load(state.path());
    for id in ["z", "a", "m"] {
        submit(&table, id, spec(id, "")).ok().unwrap();
    }
    assert_eq!(table.next_turn(2).unwrap().unwrap().id, "z");
    assert_eq!(table.next_turn(2).unwrap().unwrap().id, "a");
    assert!(table.next_turn(2).unwrap().is_none());
    assert_eq!(table.counts(), (2, 1));
    assert_eq!(table.get("z").unwrap().job.status.phase, Phase::Accepted);
}

#[test]
fn a_job_that_waits_is_canceled_at_once_and_one_that_runs_is_asked() {
    let state = tempfile::tempdir().unwrap();
    let table = load(state.path());
    submit(&table, "runs", spec("vg0/a", "")).ok().unwrap();
    submit(&table, "waits", spec("vg0/b", "")).ok().unwrap();
    let turn = table.next_turn(1).unwrap().unwrap();
    let canceled = table.cancel("waits", asked()).unwrap().job;
    assert_eq!((canceled.status.phase, &canceled.spec["cancel"]), (Phase::Canceled, &json!(true)));
    assert_eq!(table.cancel("runs", asked()).unwrap().job.status.phase, Phase::Canceling);
    assert_eq!(turn.cancel.check(), Err(asked()));
    assert_eq!(table.cancel("none", asked()).unwrap_err().code, Code::NotFound);
    assert_eq!(table.delete("runs").unwrap_err().code, Code::Busy);
    table.delete("waits").unwrap();
}

#[test]
fn a_table_that_ends_cancels_what_it_has_and_takes_nothing_more() {
    let state = tempfile::tempdir().unwrap();
    let table = load(state.path());
    submit(&table, "runs", spec("vg0/a", "")).ok().unwrap();
    let turn = table.next_turn(1).unwrap().unwrap();
    submit(&table, "waits", spec("vg0/b", "")).ok().unwrap();
    table.end();
    assert!(turn.cancel.check().is_err());
    assert_eq!(table.get("waits").unwrap().job.status.phase, Phase::Canceled);
    let refused = submit(&table, "new", spec("vg0/c", "")).err().unwrap();
    assert_eq!(refused.code.http_status(), 503);
    assert!(table.get("new").is_none());
    // What is on record is still answered.
    assert!(matches!(submit(&table, "waits", spec("vg0/b", "")), Ok(Submitted::Existing(_))));
}

#[test]
fn a_watcher_sees_each_change_once_and_a_forgotten_past_is_gone() {
    let state = tempfile::tempdir().unwrap();
    let table = load(state.path());
    let (_, start) = table.list();
    submit(&table, "a", spec("vg0/a", "")).ok().unwrap();
    let (changes, seen) = table.changes(start).unwrap();
    assert_eq!(changes.iter().map(|c| c.change).collect::<Vec<_>>(), [ChangeType::Added]);
    assert!(table.changes(seen).unwrap().0.is_empty());
    table.cancel("a", asked()).unwrap();
    let (changes, seen) = table.changes(seen).unwrap();
    assert_eq!(changes.iter().map(|c| c.change).collect::<Vec<_>>(), [ChangeType::Modified]);
    table.delete("a").unwrap();
    let (changes, seen) = table.changes(seen).unwrap();
    assert_eq!(changes.iter().map(|c| c.change).collect::<Vec<_>>(), [ChangeType::Deleted]);
    for other in [start - 1, seen + 1] {
        assert_eq!(table.changes(other).unwrap_err().code, Code::Gone);
    }
}

#[test]
fn the_oldest_ended_jobs_leave_the_record_first() {
    let state = tempfile::tempdir().unwrap();
    let table = load(state.path());
    for id in ["first", "second", "third"] {
        submit(&table, id, spec(id, "")).ok().unwrap();
        table.cancel(id, asked()).unwrap();
    }
    submit(&table, "waits", spec("vg0/a", "")).ok().unwrap();
    table.prune(1);
    let left: Vec<_> = table.list().0.into_iter().map(|change| change.job.id).collect();
    assert_eq!(left, ["third", "waits"]);
}
