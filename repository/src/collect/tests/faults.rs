//! Each request of each operation in turn fails, is done unheard, is done twice, or is the last one
//! its maker makes: what is listed is whole, and a second run finishes.

use super::actors::{Client, Shape};
use super::stage::Stage;
use super::world::{Choice, Fate};
use crate::error::Result;

const PACKS: Shape = Shape { carried_bytes: 0, split: true };
const CARRIED: Shape = Shape { carried_bytes: 4 << 20, split: false };

/// Two live backups that share a block, and one that is deleted.
fn stage() -> Stage {
    Stage::new(true, |client| {
        client.upload("a", &[1, 2], PACKS, None).unwrap();
        client.upload("b", &[2, 3], CARRIED, None).unwrap();
        let garbage = client.upload("c", &[3, 4], CARRIED, None).unwrap();
        client.collect(false).unwrap();
        client.delete(&garbage).unwrap();
    })
}

type Operation = fn(&Client) -> Result<()>;

fn upload(client: &Client) -> Result<()> {
    client.upload("a", &[4, 5], PACKS, None).map(drop)
}

fn small_upload(client: &Client) -> Result<()> {
    client.upload("a", &[4, 5], CARRIED, None).map(drop)
}

fn upload_on_base(client: &Client) -> Result<()> {
    let backups = client.backups()?;
    client.upload("a", &[1, 5], PACKS, backups.first()).map(drop)
}

fn delete(client: &Client) -> Result<()> {
    match client.backups()?.first() {
        Some(backup) => client.delete(backup),
        None => Ok(()),
    }
}

/// All but the newest go, one after the other.
fn prune(client: &Client) -> Result<()> {
    let backups = client.backups()?;
    backups.iter().rev().skip(1).try_for_each(|backup| client.delete(backup))
}

fn maintain(client: &Client) -> Result<()> {
    client.collect(true).map(drop)
}

fn repack(client: &Client) -> Result<()> {
    client.repack(true).map(drop)
}

/// Runs `operation` with a fault at one request after the other. Returns how many there were.
fn sweep(operation: Operation, fate: Fate, arrives: bool) -> usize {
    for fault_at in 0.. {
        let mut stage = stage();
        let mut made = 0;
        let director = Box::new(move |_: &[_], _| {
            made += 1;
            Choice::Go(0, if made == fault_at + 1 { fate } else { Fate::Done })
        });
        stage.play(vec![Box::new(|client| drop(operation(client)))], director);
        let is_reached = stage.requests() > fault_at;
        if arrives {
            stage.arrive();
        }
        let again = stage.alone(operation);
        assert!(again.is_ok(), "{fate:?} at request {fault_at}: the second run says {again:?}");
        if let Err(failure) = stage.verdict() {
            panic!("{fate:?} at request {fault_at}: {failure}");
        }
        if !is_reached {
            return fault_at;
        }
    }
    unreachable!("an operation ends")
}

#[test]
fn a_fault_at_any_request_leaves_whole_backups_and_a_second_run_finishes() {
    let operations: [(&str, Operation, usize); 7] = [
        ("upload", upload, 14),
        ("small upload", small_upload, 10),
        ("upload on a base", upload_on_base, 20),
        ("delete", delete, 8),
        ("prune", prune, 8),
        ("maintain", maintain, 60),
        ("maintain with repacking", repack, 120),
    ];
    for (name, operation, requests_min) in operations {
        for fate in [Fate::Delayed, Fate::AnswerLost, Fate::Repeated, Fate::Crash] {
            for arrives in [false, true] {
                let requests = sweep(operation, fate, arrives);
                assert!(requests >= requests_min, "{name}: only {requests} requests");
            }
        }
    }
}
