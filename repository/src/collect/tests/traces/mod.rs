//! The ways in which earlier protocols lost a backup, each by name.

mod collectors;
mod late;
mod readers;
mod writers;

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use super::actors::{Client, Shape};
use super::stage::{Act, Stage};
use super::world::{Actor, Choice, Director, Fate};
use crate::collect::CollectionEnd;

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The actor goes on until it is about to make a request that begins so.
    Until(Actor, &'static str),
    /// It makes the request it is about to make.
    Make(Actor, Fate),
    /// It goes on to its end.
    Finish(Actor),
    /// The first request that is under way arrives.
    Arrive,
}

use Step::{Arrive, Finish, Make, Until};

/// Plays `acts` by `steps`, then lets all go on in turn. Each step must be met.
fn follow(stage: &mut Stage, acts: Vec<Act<'_>>, steps: &[Step]) {
    let missed = try_to_follow(stage, acts, steps);
    assert!(missed.is_empty(), "these steps were not met: {missed:?}\n{}", stage.trace());
}

/// Returns the steps that were not met. What arrives last may do so behind everybody's end.
fn try_to_follow(stage: &mut Stage, acts: Vec<Act<'_>>, steps: &[Step]) -> Vec<Step> {
    let left: Arc<Mutex<Vec<Step>>> = Arc::new(Mutex::new(steps.iter().rev().copied().collect()));
    let missed = Arc::new(Mutex::new(Vec::new()));
    let (steps, noted) = (Arc::clone(&left), Arc::clone(&missed));
    let director: Director = Box::new(move |waiting, late| {
        let mut steps = steps.lock().unwrap();
        let find = |actor| waiting.iter().position(|it| it.actor == actor);
        while let Some(step) = steps.last().copied() {
            let choice = match step {
                Until(actor, label) => match find(actor) {
                    Some(index) if !waiting[index].label.starts_with(label) => {
                        return Choice::Go(index, Fate::Done);
                    }
                    Some(_) => None,
                    None => {
                        noted.lock().unwrap().push(step);
                        None
                    }
                },
                Finish(actor) => match find(actor) {
                    Some(index) => return Choice::Go(index, Fate::Done),
                    None => None,
                },
                Make(actor, fate) => {
                    let index = find(actor);
                    if index.is_none() {
                        noted.lock().unwrap().push(step);
                    }
                    index.map(|index| Choice::Go(index, fate))
                }
                Arrive if late == 0 => {
                    noted.lock().unwrap().push(step);
                    None
                }
                Arrive => Some(Choice::Late(0)),
            };
            steps.pop();
            if let Some(choice) = choice {
                return choice;
            }
        }
        Choice::Go(0, Fate::Done)
    });
    stage.play(acts, director);
    let mut missed = std::mem::take(&mut *missed.lock().unwrap());
    for step in left.lock().unwrap().iter().rev() {
        match step {
            Finish(_) => {}
            Arrive => stage.arrive(),
            Until(..) | Make(..) => missed.push(*step),
        }
    }
    missed
}

/// Each block in a pack of its own, as blocks of large volumes are.
const PACKS: Shape = Shape { carried_bytes: 0, split: false };
/// Nodes in an index object, blocks in packs, as uploads of some size have it.
const MIXED: Shape = Shape { carried_bytes: 150, split: false };

/// A live backup of content 1, and one of content 2 whose deletion left garbage.
fn stage(is_atomic: bool) -> Stage {
    Stage::new(is_atomic, |client| {
        client.upload("live", &[1], PACKS, None).unwrap();
        let garbage = client.upload("garbage", &[2], PACKS, None).unwrap();
        client.delete(&garbage).unwrap();
    })
}

fn upload(contents: &[u8]) -> Act<'_> {
    Box::new(move |client| drop(client.upload("w", contents, PACKS, None)))
}

/// Uploads on the newest backup of content 2 that is listed.
fn upload_on_base(contents: &[u8]) -> Act<'_> {
    Box::new(move |client| {
        let base = newest(client);
        drop(client.upload("w", contents, PACKS, Some(&base)));
    })
}

/// The backup of content 2 that is listed.
fn newest(client: &Client) -> crate::Manifest {
    of(client, &[2])
}

/// The backup of some contents that is listed.
fn of(client: &Client, contents: &[u8]) -> crate::Manifest {
    let backups = client.backups().unwrap();
    let begun = client.ledger.lock().unwrap().begun.clone();
    backups.into_iter().find(|backup| begun[&backup.id] == contents).unwrap()
}

fn delete_newest() -> Act<'static> {
    Box::new(|client| drop(client.delete(&newest(client))))
}

fn collect(fence: bool) -> Act<'static> {
    Box::new(move |client| drop(client.collect(fence)))
}

fn assert_kept(mut stage: Stage) {
    if let Err(failure) = stage.verdict() {
        panic!("{failure}");
    }
}

/// How many packs there are.
fn packs(stage: &mut Stage) -> usize {
    stage.alone(|client| {
        let mut packs = 0;
        let store = client.world.store(client.actor);
        store
            .list("domain/", &mut |entry| {
                packs += usize::from(entry.key.contains("/pack/"));
                ControlFlow::Continue(())
            })
            .unwrap();
        packs
    })
}
