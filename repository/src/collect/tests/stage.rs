//! A repository, and plays on it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};

use super::actors::{Client, Ledger, init};
use super::world::{Choice, Director, Fate, World};
use crate::Repository;

/// What one actor does.
pub(super) type Act<'a> = Box<dyn FnOnce(&Client) + Send + 'a>;

/// What stands between plays: the store's objects, and what was promised.
pub(super) struct Stage {
    repository: Repository,
    world: Arc<World>,
    ledger: Arc<Mutex<Ledger>>,
    traces: Vec<String>,
    pub(super) is_atomic: bool,
    /// See [`World::new`].
    pub(super) coin: Option<u64>,
}

/// In turn, without a fault.
pub(super) fn in_turn() -> Director {
    Box::new(|_, _| Choice::Go(0, Fate::Done))
}

impl Stage {
    /// A repository in which `prepare` was done.
    pub(super) fn new(is_atomic: bool, prepare: impl FnOnce(&Client)) -> Self {
        let world = World::new(BTreeMap::new(), 1, is_atomic, None, in_turn());
        let repository = init(world.store(0));
        let ledger = Arc::default();
        let client = client(&repository, &world, 0, &ledger);
        prepare(&client);
        drop(client);
        Self { repository, world, ledger, traces: Vec::new(), is_atomic, coin: None }
    }

    /// Lets actors act until all are done.
    pub(super) fn play(&mut self, acts: Vec<Act<'_>>, director: Director) {
        let objects = self.world.objects();
        self.world = World::new(objects, acts.len(), self.is_atomic, self.coin, director);
        std::thread::scope(|scope| {
            for (actor, act) in acts.into_iter().enumerate() {
                let client = client(&self.repository, &self.world, actor, &self.ledger);
                scope.spawn(move || {
                    // Whoever panics must not keep the others waiting for its next request.
                    let acted = catch_unwind(AssertUnwindSafe(|| act(&client)));
                    let world = Arc::clone(&client.world);
                    drop(client);
                    world.finish(actor);
                    if let Err(panic) = acted {
                        resume_unwind(panic);
                    }
                });
            }
        });
        self.traces.push(self.world.trace());
    }

    /// Lets one act alone.
    pub(super) fn alone<T: Send>(&mut self, act: impl FnOnce(&Client) -> T + Send) -> T {
        let mut result = None;
        self.play(vec![Box::new(|client| result = Some(act(client)))], in_turn());
        result.unwrap()
    }

    /// Lets what is still under way arrive.
    pub(super) fn arrive(&self) {
        self.world.arrive();
    }

    /// How many requests the last play had.
    pub(super) fn requests(&self) -> usize {
        self.world.requests()
    }

    /// The requests of the last play.
    pub(super) fn trace(&self) -> String {
        self.world.trace()
    }

    /// Whether somebody crashed in the last play.
    pub(super) fn had_a_crash(&self) -> bool {
        self.world.has_crashed(0)
    }

    /// What happened since this was last called.
    pub(super) fn take_seen(&self) -> BTreeSet<&'static str> {
        std::mem::take(&mut self.ledger.lock().unwrap().seen)
    }

    /// Whether all that was promised holds now, and after three collections that nobody disturbs.
    pub(super) fn verdict(&mut self) -> Result<(), String> {
        self.alone(|client| {
            client.check();
            for collect in [Client::collect, Client::repack, Client::collect] {
                if let Err(error) = collect(client, true) {
                    client.fail(format!("a last collection: {error}"));
                }
                client.check();
            }
        });
        let failures = std::mem::take(&mut self.ledger.lock().unwrap().failures);
        if failures.is_empty() {
            return Ok(());
        }
        let traces = self.traces.join("\nthen:\n");
        Err(format!("{}\n(atomic {})\n{traces}", failures.join("\n"), self.is_atomic))
    }
}

fn client(
    repository: &Repository,
    world: &Arc<World>,
    actor: usize,
    ledger: &Arc<Mutex<Ledger>>,
) -> Client {
    let repository = repository.over(world.store(actor));
    Client { world: Arc::clone(world), actor, repository, ledger: Arc::clone(ledger) }
}
