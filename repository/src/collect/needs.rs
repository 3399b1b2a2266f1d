//! Which containers are needed: of every reached blob one holder, the one of which most is alive. All is
//! kept by the containers' numbers, since there may be many.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::holdings::{Held, Holdings};
use super::reach::Reach;
use crate::container::Entry;
use crate::error::Result;
use crate::id::Id;
use crate::names::ContainerRef;

/// What is known of a container.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Holder {
    /// Whether it is there.
    pub(super) exists: bool,
    /// Whether it stays if this collection needs it: its session has ended and nobody condemned it.
    pub(super) is_safe: bool,
    /// Its length in bytes.
    pub(super) size: u64,
}

/// Says which holder of a blob is needed: of the safe ones that of which the greatest part is alive.
#[derive(Debug)]
pub(super) struct Chooser {
    /// By number, as the following are.
    about: Vec<Holder>,
    /// Bytes of blobs that are reached, wherever else they lie.
    live: Vec<u64>,
    /// Bytes of blobs for which it is needed; 0 where it is not.
    needed: Vec<u64>,
}

impl Chooser {
    /// Bytes of a container that are needed, by its number.
    pub(super) fn needed_bytes(&self, number: u32) -> u64 {
        self.needed.get(number as usize).copied().unwrap_or_default()
    }

    fn best<'h>(&self, holders: &'h [Held]) -> Option<&'h Held> {
        let is_safe =
            |number: u32| self.about.get(number as usize).is_some_and(|holder| holder.is_safe);
        let safe = holders.iter().filter(|(number, _)| is_safe(*number));
        safe.max_by(|a, b| self.compare(a.0 as usize, b.0 as usize))
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        let share = |at: usize| (self.live[at], self.about[at].size);
        by_share(share(a), share(b)).then(b.cmp(&a))
    }
}

impl Holdings {
    /// Chooses a holder for every reached blob: a safe one if there is any, else all that there are.
    /// Returns a blob that nothing holds, too, if there is one.
    pub(super) fn choose(
        &mut self,
        reach: &mut Reach,
        about: impl Fn(&ContainerRef) -> Holder,
    ) -> Result<(Chooser, Option<Id>)> {
        let about: Vec<Holder> = self.containers().iter().map(about).collect();
        let exists: Vec<bool> = about.iter().map(|holder| holder.exists).collect();
        let mut live = vec![0_u64; about.len()];
        let missing = self.for_each_reached(reach, &exists, &mut |holders| {
            for (number, entry) in holders {
                live[*number as usize] += u64::from(entry.stored_bytes);
            }
        })?;
        let mut needed = vec![0; about.len()];
        let chooser = Chooser { about, live, needed: Vec::new() };
        self.for_each_reached(reach, &exists, &mut |holders| {
            let mut need = |(number, entry): &Held| {
                needed[*number as usize] += u64::from(entry.stored_bytes);
            };
            match chooser.best(holders) {
                Some(best) => need(best),
                None => holders.iter().for_each(need),
            }
        })?;
        Ok((Chooser { needed, ..chooser }, missing))
    }

    /// Which of the condemned containers must stay all the same: those with a blob that no other one
    /// holds which stays, and where `is_read` all with a blob that is reached, since somebody may have
    /// chosen just that one to read from.
    pub(super) fn spared(
        &mut self,
        reach: &mut Reach,
        condemned: &BTreeSet<ContainerRef>,
        exists: impl Fn(&ContainerRef) -> bool,
        is_read: bool,
    ) -> Result<(BTreeSet<ContainerRef>, Option<Id>)> {
        let exists: Vec<bool> = self.containers().iter().map(exists).collect();
        let stays: Vec<bool> = self
            .containers()
            .iter()
            .zip(&exists)
            .map(|(container, exists)| *exists && !condemned.contains(container))
            .collect();
        let mut spared = vec![false; stays.len()];
        let all = vec![true; stays.len()];
        let missing = self.for_each_reached(reach, &all, &mut |holders| {
            if is_read || !holders.iter().any(|(number, _)| stays[*number as usize]) {
                holders.iter().for_each(|(number, _)| spared[*number as usize] = true);
            }
        })?;
        let spared = self.containers().iter().zip(spared).filter(|(_, is)| *is);
        let spared = spared.map(|(container, _)| *container).filter(|it| condemned.contains(it));
        Ok((spared.collect(), missing))
    }

    /// The reached blobs whose best holder is one of `containers`, with their places; `blobs_max` at most.
    pub(super) fn best_in(
        &mut self,
        reach: &mut Reach,
        chooser: &Chooser,
        containers: &BTreeSet<ContainerRef>,
        blobs_max: usize,
    ) -> Result<Vec<(ContainerRef, Entry)>> {
        let is_in: Vec<bool> = self.containers().iter().map(|it| containers.contains(it)).collect();
        let mut best_in = Vec::new();
        self.for_each_reached(reach, &vec![true; is_in.len()], &mut |holders| {
            if let Some((number, entry)) = chooser.best(holders)
                && is_in[*number as usize]
                && best_in.len() < blobs_max
            {
                best_in.push((*number, *entry));
            }
        })?;
        let container = |(number, entry)| Some((*self.containers().get(number as usize)?, entry));
        Ok(best_in.into_iter().filter_map(container).collect())
    }
}

/// Compares how much of two containers is alive: bytes and length of each.
fn by_share(a: (u64, u64), b: (u64, u64)) -> Ordering {
    let product = |live: u64, size: u64| u128::from(live) * u128::from(size);
    product(a.0, b.1).cmp(&product(b.0, a.1))
}
