//! Which containers are needed: of every reached blob one holder, the one in which most is alive.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::holdings::{Holdings, Reached};
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

/// What the reached blobs need.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub(super) containers: BTreeSet<ContainerRef>,
    /// Of which of these how many bytes are needed.
    pub(super) bytes: Vec<(ContainerRef, u64)>,
    /// A reached blob that nothing holds.
    pub(super) missing: Option<Id>,
}

impl Holdings {
    /// Chooses a holder for every reached blob: a safe one if there is any, else all that there are.
    pub(super) fn needs(
        &mut self,
        reach: &mut Reach,
        about: impl Fn(&ContainerRef) -> Holder,
    ) -> Result<Needs> {
        let about: Vec<Holder> = self.containers().iter().map(about).collect();
        let exists: Vec<bool> = about.iter().map(|holder| holder.exists).collect();
        let mut live = vec![0_u64; about.len()];
        let missing =
            self.for_each_reached(reach, &exists, &mut |Reached { holders, .. }| {
                for (number, entry) in holders {
                    live[*number as usize] += u64::from(entry.stored_bytes);
                }
            })?;
        let mut needed = vec![None; about.len()];
        let refs = self.containers().to_vec();
        let better = |a: &u32, b: &u32| {
            let [a, b] = [a, b].map(|number| *number as usize);
            by_share((live[a], about[a].size), (live[b], about[b].size)).then(refs[b].cmp(&refs[a]))
        };
        self.for_each_reached(reach, &exists, &mut |Reached { holders, .. }| {
            let mut need = |(number, entry): &(u32, Entry)| {
                *needed[*number as usize].get_or_insert(0) += u64::from(entry.stored_bytes);
            };
            let safe = holders.iter().filter(|(number, _)| about[*number as usize].is_safe);
            match safe.max_by(|a, b| better(&a.0, &b.0)) {
                Some(best) => need(best),
                None => holders.iter().for_each(need),
            }
        })?;
        let bytes: Vec<(ContainerRef, u64)> =
            refs.into_iter().zip(needed).filter_map(|(it, bytes)| Some((it, bytes?))).collect();
        let containers = bytes.iter().map(|(container, _)| *container).collect();
        Ok(Needs { containers, bytes, missing })
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
    ) -> Result<Needs> {
        let exists: Vec<bool> = self.containers().iter().map(exists).collect();
        let stays: Vec<bool> = self
            .containers()
            .iter()
            .zip(&exists)
            .map(|(container, exists)| *exists && !condemned.contains(container))
            .collect();
        let mut spared = vec![false; stays.len()];
        let all = vec![true; stays.len()];
        let missing = self.for_each_reached(reach, &all, &mut |Reached { holders, .. }| {
            if is_read || !holders.iter().any(|(number, _)| stays[*number as usize]) {
                holders.iter().for_each(|(number, _)| spared[*number as usize] = true);
            }
        })?;
        let spared = self.containers().iter().zip(spared).filter(|(_, is)| *is);
        let containers = spared.map(|(container, _)| *container).collect();
        Ok(Needs { containers, missing, ..Needs::default() })
    }

    /// The reached blobs that only `containers` hold of what is safe: one place of each.
    pub(super) fn only_in(
        &mut self,
        reach: &mut Reach,
        containers: &BTreeSet<ContainerRef>,
        is_safe: impl Fn(&ContainerRef) -> bool,
    ) -> Result<Vec<(ContainerRef, Entry)>> {
        let refs = self.containers().to_vec();
        let is_safe: Vec<bool> = refs.iter().map(is_safe).collect();
        let is_in: Vec<bool> =
            refs.iter().map(|container| containers.contains(container)).collect();
        let mut only = Vec::new();
        self.for_each_reached(reach, &is_safe, &mut |Reached { holders, .. }| {
            let safe = || holders.iter().filter(|(number, _)| is_safe[*number as usize]);
            if safe().all(|(number, _)| is_in[*number as usize]) {
                only.extend(safe().next().map(|(number, entry)| (refs[*number as usize], *entry)));
            }
        })?;
        Ok(only)
    }
}

/// Compares how much of two containers is alive: bytes and length of each.
fn by_share(a: (u64, u64), b: (u64, u64)) -> Ordering {
    let product = |live: u64, size: u64| u128::from(live) * u128::from(size);
    product(a.0, b.1).cmp(&product(b.0, a.1))
}
