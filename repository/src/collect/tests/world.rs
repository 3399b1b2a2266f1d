//! One store, and actors that take turns at it. At each request an actor waits until the director
//! says that it is its turn; so one request is under way at a time, and a seed gives one schedule.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::store::{
    Creation, ListEntry, ObjectWriter, RangeBuffer, Store, StoreError, StoreErrorKind, StoreResult,
};

pub(super) type Actor = usize;

/// A request that waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) actor: Actor,
    /// As `verb kind`, e.g. `create outcome`.
    pub(super) label: String,
}

/// What the director decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The request of `waiting[index]` is made.
    Go(usize, Fate),
    /// An earlier request, whose answer nobody waits for any more, arrives.
    Late(usize),
}

/// What becomes of a request that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    /// It fails, and may arrive later.
    Delayed,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// The first attempt may arrive later; the second is done, as the store's client tells.
    Repeated,
    /// The actor makes no request any more. This one may arrive.
    Crash,
}

/// Chooses among what waits. `late` requests are on their way.
pub(super) type Director = Box<dyn FnMut(&[Waiting], usize) -> Choice + Send>;

#[derive(Clone, Debug)]
enum Effect {
    Create(String, Arc<[u8]>),
    Delete(String),
}

/// The store and who is where.
pub(super) struct World {
    state: Mutex<State>,
    /// For each actor, that it may be its turn.
    turns: Vec<Condvar>,
    /// Whether create-if-absent is one step.
    is_atomic: bool,
}

struct State {
    objects: BTreeMap<String, Arc<[u8]>>,
    late: Vec<Effect>,
    director: Director,
    waiting: Vec<Option<String>>,
    /// Whose turn it is, and what becomes of the request.
    granted: Option<(Actor, Fate)>,
    running: usize,
    crashed: Vec<bool>,
    /// What a listing shows of that which came or went meanwhile; `None`: nothing.
    coin: Option<u64>,
    requests: usize,
    trace: Vec<String>,
}

impl World {
    /// A world of `actors` that are all about to run.
    pub(super) fn new(
        objects: BTreeMap<String, Arc<[u8]>>,
        actors: usize,
        is_atomic: bool,
        coin: Option<u64>,
        director: Director,
    ) -> Arc<Self> {
        let turns = (0..actors).map(|_| Condvar::new()).collect();
        let state = State {
            objects,
            late: Vec::new(),
            director,
            waiting: vec![None; actors],
            granted: None,
            running: actors,
            crashed: vec![false; actors],
            coin,
            requests: 0,
            trace: Vec::new(),
        };
        Arc::new(Self { state: Mutex::new(state), turns, is_atomic })
    }

    /// The store as `actor` sees it.
    pub(super) fn store(self: &Arc<Self>, actor: Actor) -> Arc<dyn Store> {
        Arc::new(ActorStore { world: Arc::clone(self), actor, may_write: true })
    }

    /// The store as `actor` sees it where it may only read.
    pub(super) fn read_only_store(self: &Arc<Self>, actor: Actor) -> Arc<dyn Store> {
        Arc::new(ActorStore { world: Arc::clone(self), actor, may_write: false })
    }

    /// Says that an actor makes no request any more.
    pub(super) fn finish(&self, actor: Actor) {
        let mut state = self.lock();
        state.running -= 1;
        let crashed = if state.crashed[actor] { " (crashed)" } else { "" };
        state.trace.push(format!("{actor} ends{crashed}"));
        self.direct(&mut state);
    }

    pub(super) fn has_crashed(&self, actor: Actor) -> bool {
        self.lock().crashed[actor]
    }

    /// What the store holds.
    pub(super) fn objects(&self) -> BTreeMap<String, Arc<[u8]>> {
        self.lock().objects.clone()
    }

    /// All that is under way arrives.
    pub(super) fn arrive(&self) {
        let mut state = self.lock();
        for effect in std::mem::take(&mut state.late) {
            state.apply(&effect, self.is_atomic);
        }
    }

    pub(super) fn trace(&self) -> String {
        self.lock().trace.join("\n")
    }

    pub(super) fn requests(&self) -> usize {
        self.lock().requests
    }

    /// Notes something that is no request.
    pub(super) fn note(&self, text: String) {
        self.lock().trace.push(text);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Waits for the actor's turn, then does `request` in one step.
    fn take_turn<T>(
        &self,
        actor: Actor,
        label: &str,
        request: impl FnOnce(&mut State, Fate) -> StoreResult<T>,
    ) -> StoreResult<T> {
        let mut state = self.lock();
        if state.crashed[actor] {
            return Err(error(StoreErrorKind::Other, label));
        }
        state.waiting[actor] = Some(label.to_owned());
        self.direct(&mut state);
        let fate = loop {
            match state.granted {
                Some((granted, fate)) if granted == actor => break fate,
                _ => state = self.turns[actor].wait(state).unwrap(),
            }
        };
        state.granted = None;
        state.requests += 1;
        state.waiting[actor] = None;
        let fated = if fate == Fate::Done { String::new() } else { format!(" {fate:?}") };
        state.trace.push(format!("{actor} {label}{fated}"));
        state.crashed[actor] = fate == Fate::Crash;
        request(&mut state, fate)
    }

    /// Once everybody who runs waits: chooses who goes on.
    fn direct(&self, state: &mut State) {
        loop {
            let waiting: Vec<Waiting> = state
                .waiting
                .iter()
                .enumerate()
                .filter_map(|(actor, label)| label.clone().map(|label| Waiting { actor, label }))
                .collect();
            if waiting.is_empty() || waiting.len() < state.running || state.granted.is_some() {
                return;
            }
            let late = state.late.len();
            match (state.director)(&waiting, late) {
                Choice::Go(index, fate) => {
                    let actor = waiting[index].actor;
                    state.granted = Some((actor, fate));
                    self.turns[actor].notify_one();
                    return;
                }
                Choice::Late(index) => {
                    let effect = state.late.remove(index);
                    state.trace.push(format!("late {effect}"));
                    state.apply(&effect, self.is_atomic);
                }
            }
        }
    }
}

impl State {
    /// Returns whether there was something of that name before.
    fn apply(&mut self, effect: &Effect, is_atomic: bool) -> bool {
        match effect {
            Effect::Create(key, bytes) => {
                let was_there = self.objects.contains_key(key);
                if !was_there || !is_atomic {
                    self.objects.insert(key.clone(), Arc::clone(bytes));
                }
                was_there
            }
            Effect::Delete(key) => self.objects.remove(key).is_some(),
        }
    }

    fn flip(&mut self) -> bool {
        let Some(coin) = &mut self.coin else { return false };
        *coin ^= *coin << 13;
        *coin ^= *coin >> 7;
        *coin ^= *coin << 17;
        *coin & (1 << 20) != 0
    }

    fn keys(&self, prefix: &str) -> BTreeMap<String, u64> {
        self.objects
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, bytes)| (key.clone(), bytes.len() as u64))
            .collect()
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(key, _) => write!(f, "create {}", short(key)),
            Self::Delete(key) => write!(f, "delete {}", short(key)),
        }
    }
}

/// A key that can be read: `pack/00ff-a1b2`.
fn short(key: &str) -> String {
    let parts: Vec<&str> = key.split('/').collect();
    let kind = parts.get(2).copied().unwrap_or(key);
    let names: Vec<String> = parts
        .iter()
        .skip(3)
        .map(|name| match name.len() {
            64 => format!("{}-{}", &name[..4], &name[32..36]),
            // `.tomb`
            37 => format!("{}{}", &name[..4], &name[32..]),
            _ => name.chars().take(4).collect(),
        })
        .collect();
    format!("{kind} {}", names.join("/"))
}

fn error(kind: StoreErrorKind, key: &str) -> StoreError {
    StoreError { kind, action: "ask for", key: key.to_owned(), place: "world".into(), cause: None }
}

struct ActorStore {
    world: Arc<World>,
    actor: Actor,
    may_write: bool,
}

impl fmt::Debug for ActorStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorStore({})", self.actor)
    }
}

impl ActorStore {
    fn object(&self, verb: &str, key: &str) -> StoreResult<Arc<[u8]>> {
        self.world.take_turn(self.actor, &format!("{verb} {}", short(key)), |state, _| {
            state.objects.get(key).cloned().ok_or_else(|| error(StoreErrorKind::NotFound, key))
        })
    }

    fn listing(&self, prefix: &str) -> StoreResult<BTreeMap<String, u64>> {
        let (world, label) = (&self.world, format!("list {}", short(prefix)));
        let before = world.take_turn(self.actor, &label, |state, _| Ok(state.keys(prefix)))?;
        world.take_turn(self.actor, &format!("{label}end"), |state, _| {
            let mut keys = state.keys(prefix);
            // What was made or deleted meanwhile may be in it or not.
            keys.retain(|key, _| before.contains_key(key) || state.flip());
            for (key, size) in before {
                if !keys.contains_key(&key) && !state.objects.contains_key(&key) && state.flip() {
                    keys.insert(key, size);
                }
            }
            Ok(keys)
        })
    }

    /// Whether there was something before, and whether an attempt may still arrive.
    fn effect(&self, label: &str, effect: Effect) -> StoreResult<(bool, bool)> {
        if !self.may_write {
            return Err(error(StoreErrorKind::PermissionDenied, label));
        }
        let is_atomic = self.world.is_atomic;
        self.world.take_turn(self.actor, label, |state, fate| {
            let lost = || Err(error(StoreErrorKind::Other, label));
            match fate {
                Fate::Done => Ok((state.apply(&effect, is_atomic), false)),
                Fate::Repeated => {
                    state.late.push(effect.clone());
                    Ok((state.apply(&effect, is_atomic), true))
                }
                Fate::Delayed | Fate::Crash => {
                    state.late.push(effect);
                    lost()
                }
                Fate::AnswerLost => {
                    state.apply(&effect, is_atomic);
                    lost()
                }
            }
        })
    }
}

impl Store for ActorStore {
    fn url(&self) -> String {
        "world".to_owned()
    }

    fn get(&self, key: &str, _: u64) -> StoreResult<Vec<u8>> {
        self.object("get", key).map(|bytes| bytes.to_vec())
    }

    fn get_range(&self, key: &str, range: Range<u64>, out: &mut RangeBuffer) -> StoreResult<()> {
        let bytes = self.object("get", key)?;
        let part = bytes.get(range.start as usize..range.end as usize);
        let part = part.ok_or_else(|| error(StoreErrorKind::TooShort, key))?;
        out.room(part.len()).copy_from_slice(part);
        Ok(())
    }

    fn size(&self, key: &str) -> StoreResult<u64> {
        self.object("size", key).map(|bytes| bytes.len() as u64)
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ListEntry) -> ControlFlow<()>,
    ) -> StoreResult<()> {
        for (key, size_bytes) in self.listing(prefix)? {
            if visit(ListEntry { key, size_bytes }).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn list_folders(&self, prefix: &str) -> StoreResult<Vec<String>> {
        let keys = self.listing(prefix)?;
        let mut folders: Vec<String> = keys
            .keys()
            .filter_map(|key| Some(key.strip_prefix(prefix)?.split_once('/')?.0.to_owned()))
            .collect();
        folders.dedup();
        Ok(folders)
    }

    fn create(&self, key: &str, bytes: &[u8]) -> StoreResult<Creation> {
        let effect = Effect::Create(key.to_owned(), bytes.into());
        let (was_there, in_doubt) = self.effect(&format!("create {}", short(key)), effect)?;
        Ok(match (was_there && self.world.is_atomic, in_doubt) {
            (false, false) => Creation::Created,
            (false, true) => Creation::CreatedInDoubt,
            (true, false) => Creation::AlreadyExists,
            (true, true) => Creation::AlreadyExistsInDoubt,
        })
    }

    fn writer(&self, key: &str, _: u64) -> StoreResult<Box<dyn ObjectWriter>> {
        let store = Self { world: Arc::clone(&self.world), ..*self };
        Ok(Box::new(Writer { store, key: key.to_owned(), bytes: Vec::new() }))
    }

    fn delete(&self, key: &str) -> StoreResult<()> {
        let effect = Effect::Delete(key.to_owned());
        self.effect(&format!("delete {}", short(key)), effect).map(drop)
    }

    fn has_conditional_writes(&self) -> bool {
        self.world.is_atomic
    }
}

struct Writer {
    store: ActorStore,
    key: String,
    bytes: Vec<u8>,
}

impl ObjectWriter for Writer {
    fn append(&mut self, bytes: &[u8]) -> StoreResult<()> {
        self.bytes.extend(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> StoreResult<Creation> {
        self.store.create(&self.key, &self.bytes)
    }
}
