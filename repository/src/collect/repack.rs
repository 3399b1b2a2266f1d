//! Repacking: what is alive of containers that are mostly dead, or small, is stored once more, in packs
//! of an ordinary session which ends without a backup. The next collection finds that nothing needs
//! the old ones (FORMAT.md, section 13).

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::holdings::Holdings;
use super::needs::Chooser;
use super::reach::Reach;
use super::report::{MaintainProgress, RepackLimits};
use super::run::OnProgress;
use crate::container::Entry;
use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::id::BlobKind;
use crate::index::is_damage;
use crate::names::ContainerRef;
use crate::restore::read_located;
use crate::store::Store;
use crate::upload::{Upload, UploadLimits};

/// Blobs that are planned for at most, with their places some 6 MiB.
const BLOBS_MAX: usize = 65_536;
/// Read and stored again at once, in bytes.
const BATCH_BYTES: u64 = 4 << 20;
/// What its session calls its volume. No upload is of it.
pub(crate) const VOLUME: &str = "repacked blobs";

/// A container, what is needed of it, and its length, in bytes.
pub(super) type Share = (ContainerRef, u64, u64);

/// What is worth repacking.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) containers: BTreeSet<ContainerRef>,
    /// What the least that is worth it takes, within the limits or not, in bytes; 0: nothing is.
    pub(super) least_bytes: u64,
}

/// Which containers are stored again: those that are more than half dead, the deadest first; then, if
/// there are enough of them, those that are small, two at least. Together no more is copied than the
/// limits allow.
pub(super) fn choose(shares: impl Iterator<Item = Share>, limits: &RepackLimits) -> Chosen {
    let is_small = |share: &Share| share.2 < limits.small_bytes;
    let is_mostly_dead = |share: &Share| share.1 < share.2 / 2;
    let mut worth: Vec<Share> =
        shares.filter(|share| is_small(share) || is_mostly_dead(share)).collect();
    let small = worth.iter().filter(|share| is_small(share)).count();
    if small < limits.small_count.max(2) {
        worth.retain(|share| !is_small(share));
    }
    worth.sort_unstable_by_key(|share| (is_small(share), share.1, share.0));
    let least = worth.first().map_or(0, |first| if is_small(first) { 2 } else { 1 });
    let least_bytes = worth.iter().take(least).map(|share| share.1).sum();
    let mut left = limits.bytes;
    let fitting = worth.iter().take_while(|share| match left.checked_sub(share.1) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    });
    let mut fitting: Vec<&Share> = fitting.collect();
    if fitting.iter().filter(|share| is_small(share)).count() == 1 {
        fitting.pop();
    }
    let containers = fitting.into_iter().map(|share| share.0).collect();
    Chosen { containers, least_bytes }
}

/// What to store again, by where it lies.
#[derive(Debug, Default)]
pub(super) struct RepackPlan(Vec<(ContainerRef, Entry)>);

impl RepackPlan {
    pub(super) fn new(
        holdings: &mut Holdings,
        reach: &mut Reach,
        chooser: &Chooser,
        containers: &BTreeSet<ContainerRef>,
    ) -> Result<Self> {
        let mut blobs = holdings.best_in(reach, chooser, containers, BLOBS_MAX)?;
        blobs.sort_unstable_by_key(|(container, entry)| (*container, entry.offset));
        Ok(Self(blobs))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What [`repack`] did.
#[derive(Debug, Default)]
pub(super) struct Repacked {
    /// Length of the new objects in bytes.
    pub(super) stored_bytes: u64,
    /// What could not be read, and why.
    pub(super) damage: Vec<String>,
}

/// Stores the planned blobs again.
pub(super) fn repack(
    store: &Arc<dyn Store>,
    keys: &Arc<DomainKeys>,
    client: &str,
    plan: &RepackPlan,
    on_progress: &mut OnProgress<'_>,
) -> Result<Repacked> {
    // What is stored is known already: nothing is looked up, and nothing is carried in an index object,
    // which would be small again.
    let limits = UploadLimits { embedded_bytes: 0, ..UploadLimits::default() };
    let upload = Upload::begin(Arc::clone(store), Arc::clone(keys), VOLUME, limits, client)?;
    let mut repacked = Repacked::default();
    let condemned = upload.condemned();
    let mut packer = upload.packer()?;
    let (mut done, total) = (0, plan.0.len());
    let mut rest = &plan.0[..];
    while !rest.is_empty() {
        let progress =
            MaintainProgress { phase: "repacking", done: done as u64, total: total as u64 };
        if let ControlFlow::Break(()) = on_progress(progress) {
            return Err(Error::Canceled);
        }
        let (batch, behind) = rest.split_at(batch_len(rest));
        (done, rest) = (done + batch.len(), behind);
        for kind in BlobKind::ALL {
            let its = batch.iter().filter(|(container, entry)| {
                entry.kind == kind.byte() && !condemned.contains(container)
            });
            let read = read_located(
                &**store,
                upload.keys(),
                "what is repacked",
                kind,
                usize::MAX,
                its.copied(),
            );
            match read {
                Ok(blobs) => {
                    for plain in blobs.values() {
                        packer.store_again(kind, plain)?;
                    }
                }
                // Another collection was faster.
                Err(error) if error.is_not_found() => {}
                Err(error) if is_damage(&error) => repacked.damage.push(error.to_string()),
                Err(error) => return Err(error),
            }
        }
    }
    packer.finish()?;
    repacked.stored_bytes = upload.publish()?;
    Ok(repacked)
}

fn batch_len(blobs: &[(ContainerRef, Entry)]) -> usize {
    let mut bytes = 0;
    let len = blobs.iter().take_while(|(_, entry)| {
        let is_room = bytes < BATCH_BYTES;
        bytes += u64::from(entry.plain_bytes);
        is_room
    });
    len.count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{ContainerId, Place};

    fn share(name: u8, needed: u64, size: u64) -> Share {
        (ContainerRef { place: Place::Pack, id: ContainerId([name; 32]) }, needed, size)
    }

    fn chosen(shares: &[Share], limits: &RepackLimits) -> Vec<u8> {
        choose(shares.iter().copied(), limits)
            .containers
            .into_iter()
            .map(|container| container.id.0[0])
            .collect()
    }

    #[test]
    fn mostly_dead_ones_come_first_and_small_ones_once_they_are_many() {
        let limits = RepackLimits { bytes: 1000, small_bytes: 100, small_count: 3 };
        let shares = [
            share(1, 400, 1000),
            share(2, 600, 1000),
            share(3, 10, 1000),
            share(4, 90, 90),
            share(5, 1, 90),
        ];
        assert_eq!(chosen(&shares, &limits), [1, 3]);
        let more = [&shares[..], &[share(6, 5, 5)]].concat();
        assert_eq!(chosen(&more, &limits), [1, 3, 4, 5, 6]);
        // The deadest first, and no more than the budget.
        assert_eq!(chosen(&more, &RepackLimits { bytes: 20, ..limits }), [3]);
        assert_eq!(chosen(&more, &RepackLimits { bytes: 0, ..limits }), [0_u8; 0]);
        // One small one alone would be stored in vain.
        let small = &more[3..];
        assert_eq!(chosen(small, &RepackLimits { bytes: 5, ..limits }), [0_u8; 0]);
        assert_eq!(chosen(small, &RepackLimits { bytes: 6, ..limits }), [5, 6]);
    }

    #[test]
    fn the_least_that_is_worth_it_is_told_whatever_the_budget() {
        let limits = RepackLimits { bytes: 0, small_bytes: 100, small_count: 2 };
        let least = |shares: &[Share]| choose(shares.iter().copied(), &limits).least_bytes;
        assert_eq!(least(&[share(1, 600, 1000), share(2, 5, 5)]), 0);
        assert_eq!(least(&[share(1, 400, 1000), share(2, 5, 5)]), 400);
        assert_eq!(least(&[share(1, 9, 9), share(2, 5, 5), share(3, 7, 7)]), 12);
    }
}
