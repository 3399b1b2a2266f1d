//! Random schedules: writers, a deleter, a reader and collectors, in any order of their requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use super::actors::{Client, Contents, Shape};
use super::stage::{Act, Stage};
use super::world::{Choice, Director, Fate, Waiting};
use crate::crypto::repeatable;

/// Repeatable numbers.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 16) % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn contents(&mut self) -> Contents {
        (0..1 + self.below(3)).map(|_| self.below(5) as u8).collect()
    }

    fn shape(&mut self) -> Shape {
        // Nothing, a node or a block, all.
        Shape { carried_bytes: [0, 150, 4 << 20][self.below(3)], split: self.one_in(2) }
    }
}

/// One actor goes on for a while, then another, with others in between; how long differs from schedule
/// to schedule. Faults where `faults`.
fn director(mut dice: Dice, actors: usize, faults: bool) -> Director {
    let stretch = [4, 12, 40, 150][dice.below(4)];
    let mut favourite = 0;
    Box::new(move |waiting: &[Waiting], late: usize| {
        if late > 0 && dice.one_in(12) {
            return Choice::Late(dice.below(late));
        }
        if dice.one_in(stretch) {
            favourite = dice.below(actors);
        }
        let index = waiting
            .iter()
            .position(|it| it.actor == favourite && !dice.one_in(stretch))
            .unwrap_or_else(|| dice.below(waiting.len()));
        let writes = ["create", "delete"].iter().any(|verb| waiting[index].label.starts_with(verb));
        let fate = match dice.below(60) {
            0 if faults => Fate::Crash,
            1 if faults && writes => Fate::Delayed,
            2 if faults && writes => Fate::AnswerLost,
            3 if faults && writes => Fate::Repeated,
            _ => Fate::Done,
        };
        Choice::Go(index, fate)
    })
}

/// What a repository holds before a schedule: a live backup, a deleted one, perhaps collected once.
fn prepared(dice: &mut Dice) -> Stage {
    Stage::new(true, |client| {
        for volume in ["a", "b"] {
            client.upload(volume, &dice.contents(), dice.shape(), None).unwrap();
        }
        match dice.below(4) {
            0 => drop(client.collect(false).unwrap()),
            1 => drop(client.repack(false).unwrap()),
            _ => {}
        }
        let backups = client.backups().unwrap();
        client.delete(&backups[dice.below(2)]).unwrap();
        if dice.one_in(3) {
            client.collect(false).unwrap();
        }
    })
}

/// One schedule: what happened in it, or what goes wrong, with its trace.
fn schedule(seed: u64) -> Result<BTreeSet<&'static str>, String> {
    repeatable::seed(seed << 8);
    let mut dice = Dice::new(seed);
    let mut stage = prepared(&mut dice);
    stage.is_atomic = !dice.one_in(4);
    stage.coin = Some(seed | 1);
    let (actors, faults) = (5, !dice.one_in(4));
    let director = director(dice.clone(), actors, faults);
    let acts = (0..actors).map(|actor| {
        let mut dice = Dice::new(seed ^ ((actor as u64 + 1) << 32));
        let act: Act = Box::new(move |client| {
            repeatable::seed(seed << 8 | (actor as u64 + 1));
            act(client, &mut dice);
        });
        act
    });
    stage.take_seen();
    stage.play(acts.collect(), director);
    let seen = stage.take_seen();
    // Everybody is gone. What is still under way arrives or not.
    if dice.one_in(2) {
        stage.arrive();
    }
    stage.verdict().map(|()| seen).map_err(|failure| format!("seed {seed}: {failure}"))
}

fn act(client: &Client, dice: &mut Dice) {
    match client.actor {
        0 | 1 => {
            for _ in 0..1 + dice.below(2) {
                let bases = if dice.one_in(2) { client.backups() } else { Ok(Vec::new()) };
                let Ok(bases) = bases else { return };
                let base = (!bases.is_empty()).then(|| &bases[dice.below(bases.len().max(1))]);
                let volume = ["a", "b"][client.actor];
                let _ = client.upload(volume, &dice.contents(), dice.shape(), base);
            }
        }
        2 => {
            for _ in 0..1 + dice.below(2) {
                let Ok(backups) = client.backups() else { return };
                if !backups.is_empty() {
                    let _ = client.delete(&backups[dice.below(backups.len())]);
                }
            }
        }
        3 if dice.one_in(2) => {
            let Ok(backups) = client.backups() else { return };
            if !backups.is_empty() {
                let backup = &backups[dice.below(backups.len())];
                match dice.below(4) {
                    0 => client.read_unmarked(backup),
                    1 => client.verify(backup, dice.one_in(2)),
                    _ => client.read(backup),
                }
            }
        }
        _ => {
            for _ in 0..1 + dice.below(2) {
                let fence = dice.one_in(2);
                let _ = if dice.one_in(2) { client.repack(fence) } else { client.collect(fence) };
            }
        }
    }
}

#[test]
fn no_schedule_loses_a_block_of_a_listed_backup() {
    let rounds = std::env::var("THINMOVER_TEST_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    let first: u64 = std::env::var("THINMOVER_TEST_SEED").map_or(0, |seed| seed.parse().unwrap());
    // A long run has a million.
    let schedules = if rounds > 1 { 50_000 * rounds } else { 10_000 };
    let next = AtomicU64::new(first);
    let run = || {
        let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + schedules {
                return seen;
            }
            match schedule(seed) {
                Ok(happened) => {
                    happened.into_iter().for_each(|it| *seen.entry(it).or_default() += 1)
                }
                Err(failure) => {
                    next.store(first + schedules, Ordering::Relaxed);
                    panic!("{failure}");
                }
            }
        }
    };
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    std::thread::scope(|scope| {
        let workers = std::thread::available_parallelism().unwrap().get();
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(run)).collect();
        for (event, count) in workers.into_iter().flat_map(|worker| worker.join().unwrap()) {
            *seen.entry(event).or_default() += count;
        }
    });
    eprintln!("of {schedules} schedules had: {seen:?}");
    for event in [
        "committed",
        "read",
        "read unmarked",
        "verified",
        "deleted",
        "finished",
        "waiting",
        "contended",
        "fenced",
        "repacked",
    ] {
        let count = seen.get(event).copied().unwrap_or_default();
        assert!(count >= schedules / 50, "`{event}` in {count} schedules only");
    }
}
