//! `backup prune`: what no rule keeps goes, and nothing else.

use serde_json::Value;

use crate::agent::Agent;
use crate::damage::cut_short;
use crate::fixture::{Fixture, noise};

/// The ids under `key`, sorted.
fn ids(document: &Value, key: &str) -> Vec<String> {
    let backups = document[key].as_array().unwrap().iter();
    let mut ids: Vec<_> = backups.map(|backup| backup["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

fn sorted<const N: usize>(ids: [&String; N]) -> Vec<String> {
    let mut ids = ids.map(Clone::clone).to_vec();
    ids.sort();
    ids
}

#[test]
fn the_newest_backups_of_each_volume_are_kept() {
    let fixture = Fixture::new();
    let one = fixture.image("one", &noise(1, 1000));
    let two = fixture.image("two", &noise(2, 1000));
    let first = fixture.back_up(&one);
    let only = fixture.back_up(&two);
    let (second, third) = (fixture.back_up(&one), fixture.back_up(&one));

    let words = ["backup", "prune", "--keep-last", "2"];
    let planned = fixture.job(&[&words[..], &["--dry-run"]].concat()).json();
    assert_eq!((ids(&planned, "deleted"), &planned["dryRun"]), (sorted([&first]), &true.into()));
    assert_eq!(ids(&planned, "kept"), sorted([&only, &second, &third]));
    assert!(planned["kept"].as_array().unwrap().iter().all(|kept| kept["reasons"][0] == "last"));
    fixture.job(&words).failed(4, "confirmation-needed", "1 of 4 backups");
    assert_eq!(fixture.listed().len(), 4);

    let pruned = fixture.job(&[&words[..], &["--yes"]].concat()).json();
    assert_eq!(ids(&pruned, "deleted"), sorted([&first]));
    let mut listed = fixture.listed();
    listed.sort();
    assert_eq!(listed, sorted([&only, &second, &third]));
    // Nobody is asked where nothing is to be done.
    fixture.job(&words).succeeded();
    // Of one volume only.
    let words = ["backup", "prune", "--keep-last", "1", "--source", &two, "--yes"];
    assert!(ids(&fixture.job(&words).json(), "deleted").is_empty());
    assert_eq!(fixture.listed().len(), 3);
}

#[test]
fn a_backup_goes_when_its_ttl_is_over_and_not_before() {
    let fixture = Fixture::new();
    let source = fixture.image("source", &noise(1, 1000));
    let backup = |ttl: &[&str]| {
        let words = ["backup", "create", &source];
        fixture.job(&[&words[..], ttl].concat()).json()["id"].as_str().unwrap().to_owned()
    };
    let over = backup(&["--ttl", "1ms"]);
    let wanted = backup(&["--ttl", "1h"]);
    let without = backup(&[]);
    let pruned = fixture.job(&["backup", "prune", "--yes"]).json();
    assert_eq!(ids(&pruned, "deleted"), [over]);
    assert_eq!(ids(&pruned, "kept"), sorted([&wanted, &without]));
    assert_eq!(fixture.listed().len(), 2);
}

#[test]
fn what_cannot_be_read_is_left_and_told_of() {
    let fixture = Fixture::new();
    let source = fixture.image("source", &noise(1, 1000));
    let damaged = fixture.back_up(&source);
    cut_short(&fixture.objects("outcome")[0]);
    let pruned = fixture.job(&["backup", "prune", "--keep-last", "1", "--yes"]);
    assert_eq!(pruned.code, 5, "{pruned:#?}");
    assert!(pruned.stderr.contains(&damaged) && pruned.stderr.contains("is left"), "{pruned:#?}");
    assert!(fixture.objects("retention").is_empty());
}

#[test]
fn rules_that_keep_nothing_are_refused() {
    let fixture = Fixture::new();
    for words in [["--keep-last", "0"], ["--keep-daily", "-1"], ["--keep-within", "0d"]] {
        let ran = fixture.job(&["backup", "prune", words[0], words[1], "--yes"]);
        assert_eq!(ran.code, 2, "{ran:#?}");
    }
    fixture.job(&["backup", "prune", "--keep-within", "19998y"]).failed(2, "usage", "keep-within");
}

#[test]
fn the_agent_prunes_a_configured_repository() {
    let agent = Agent::start();
    let source = agent.fixture.image("source", &noise(1, 1000));
    let create = ["backup", "create", &source];
    let [first, second] =
        [(); 2].map(|()| agent.ask(&create).json()["id"].as_str().unwrap().to_owned());
    let pruned = agent.ask(&["backup", "prune", "--keep-last", "1", "--yes"]).json();
    assert_eq!((ids(&pruned, "deleted"), ids(&pruned, "kept")), (vec![first], vec![second]));
    assert_eq!(agent.ask(&["backup", "list"]).json()["backups"].as_array().unwrap().len(), 1);
}
