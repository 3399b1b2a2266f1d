//! Who is connected, and who has to leave for somebody else.
//!
//! A connection *waits* from the moment it is accepted, or its last answer is out, until its next
//! request is whole; then it *is answered*. Those that wait can lose their place, the one that has
//! waited longest first. Those that are answered keep it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Limits;

/// All places of a server.
pub(super) struct Places {
    count: usize,
    bodies_bytes: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taken: usize,
    next_ticket: u64,
    /// Bytes of unfinished bodies, all who wait together.
    held_bytes: usize,
    /// Who waits, by ticket: the smallest has waited longest.
    waiting: BTreeMap<u64, Waiting>,
}

struct Waiting {
    lost: Arc<Notify>,
    held_bytes: usize,
}

/// One connection's place. Dropped, it is free.
pub(super) struct Place {
    places: Arc<Places>,
    lost: Arc<Notify>,
    /// The ticket while it waits; none while it is answered.
    ticket: Mutex<Option<u64>>,
}

impl Places {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            count: limits.connections,
            bodies_bytes: limits.bodies_bytes,
            state: Mutex::default(),
        }
    }

    /// A place for a new connection. Where all are taken, the connection that has waited longest
    /// loses its own; `None` where all are being answered.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let lost = Arc::new(Notify::new());
        let mut state = lock(&self.state);
        if state.taken >= self.count && !state.evict(|_| true) {
            return None;
        }
        state.taken += 1;
        let ticket = state.wait(&lost);
        drop(state);
        Some(Place { places: Arc::clone(self), lost, ticket: Mutex::new(Some(ticket)) })
    }

    /// Takes the place of the connection that has waited longest; false where none waits.
    pub(super) fn evict_oldest(&self) -> bool {
        lock(&self.state).evict(|_| true)
    }

    /// Takes the places of all who wait.
    pub(super) fn evict_all(&self) {
        while self.evict_oldest() {}
    }
}

impl State {
    fn wait(&mut self, lost: &Arc<Notify>) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.insert(ticket, Waiting { lost: Arc::clone(lost), held_bytes: 0 });
        ticket
    }

    /// Forgets one who waits; `None` where it had lost its place before.
    fn leave(&mut self, ticket: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&ticket)?;
        self.held_bytes -= waiting.held_bytes;
        Some(waiting)
    }

    /// Takes the place of the first of those who wait that `may_go`; false where there is none.
    fn evict(&mut self, may_go: impl Fn(&Waiting) -> bool) -> bool {
        let oldest = self.waiting.iter().find(|(_, waiting)| may_go(waiting));
        let Some(evicted) = oldest.map(|(ticket, _)| *ticket).and_then(|it| self.leave(it)) else {
            return false;
        };
        self.taken -= 1;
        evicted.lost.notify_one();
        true
    }
}

impl Place {
    /// Counts bytes of a body that this connection has in memory. Where that crosses the limit of
    /// all together, those that have waited longest with such bytes lose their places, which may be
    /// this one.
    pub(super) fn hold(&self, bytes: usize) {
        let Some(ticket) = *lock(&self.ticket) else { return };
        let mut state = lock(&self.places.state);
        let Some(waiting) = state.waiting.get_mut(&ticket) else { return };
        waiting.held_bytes += bytes;
        state.held_bytes += bytes;
        while state.held_bytes > self.places.bodies_bytes {
            state.evict(|waiting| waiting.held_bytes > 0);
        }
    }

    /// From now on it is answered and keeps its place; false where it has lost it already.
    pub(super) fn begin_answer(&self) -> bool {
        let mut ticket = lock(&self.ticket);
        let Some(waited) = ticket.take() else { return true };
        if lock(&self.places.state).leave(waited).is_some() {
            return true;
        }
        *ticket = Some(waited);
        false
    }

    /// From now on it waits again, behind all others.
    pub(super) fn end_answer(&self) {
        let mut ticket = lock(&self.ticket);
        if ticket.is_none() {
            *ticket = Some(lock(&self.places.state).wait(&self.lost));
        }
    }

    /// Ends when the place is lost: the connection is to be closed.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let ticket = lock(&self.ticket).take();
        let mut state = lock(&self.places.state);
        let had_place = ticket.is_none_or(|ticket| state.leave(ticket).is_some());
        if had_place {
            state.taken -= 1;
        }
    }
}

/// Nothing that can panic is done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(connections: usize) -> Arc<Places> {
        Arc::new(Places::new(&Limits { connections, bodies_bytes: 100, ..Limits::default() }))
    }

    fn has_lost(place: &Place) -> bool {
        !lock(&place.places.state).waiting.contains_key(&lock(&place.ticket).unwrap_or(u64::MAX))
            && lock(&place.ticket).is_some()
    }

    #[test]
    fn the_one_that_waited_longest_leaves_for_a_new_one() {
        let places = places(2);
        let first = places.take().unwrap();
        let second = places.take().unwrap();
        // An answer puts the first behind the second.
        assert!(first.begin_answer());
        first.end_answer();
        let third = places.take().unwrap();
        assert_eq!([&first, &second, &third].map(has_lost), [false, true, false]);
        assert!(!second.begin_answer());
    }

    #[test]
    fn who_is_answered_keeps_its_place() {
        let places = places(1);
        let first = places.take().unwrap();
        assert!(first.begin_answer());
        assert!(places.take().is_none());
        places.evict_all();
        first.end_answer();
        assert!(places.take().is_some());
        assert!(has_lost(&first));
    }

    #[test]
    fn a_place_is_free_once_however_its_connection_ends() {
        let places = places(2);
        let lost = places.take().unwrap();
        let answered = places.take().unwrap();
        assert!(answered.begin_answer());
        let waits = places.take().unwrap();
        drop((lost, answered, waits));
        let state = lock(&places.state);
        assert_eq!((state.taken, state.held_bytes, state.waiting.len()), (0, 0, 0));
    }

    #[test]
    fn the_oldest_unfinished_body_gives_way_when_all_together_are_too_large() {
        let places = places(9);
        let empty = places.take().unwrap();
        let [first, second] = [(); 2].map(|()| places.take().unwrap());
        first.hold(60);
        second.hold(40);
        assert_eq!([&empty, &first, &second].map(has_lost), [false, false, false]);
        second.hold(1);
        assert_eq!([&empty, &first, &second].map(has_lost), [false, true, false]);
        // A body that is whole is its handler's, and one alone is bounded like all together.
        assert!(second.begin_answer());
        let third = places.take().unwrap();
        third.hold(101);
        assert!(has_lost(&third));
        assert_eq!(lock(&places.state).held_bytes, 0);
    }
}
