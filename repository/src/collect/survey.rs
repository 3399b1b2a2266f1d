//! G1: what a domain holds, listed in the order that the proof needs.

use std::collections::{BTreeMap, BTreeSet};

use crate::crypto::DomainKeys;
use crate::error::Result;
use crate::index::{Generation, IndexView, list_containers};
use crate::names::{self, BackupLocation, ContainerRef, DomainId, Place, SessionId};
use crate::session::{Acks, Ends, list_marks, list_parsed};
use crate::store::Store;

/// A domain's keys, each listed once.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// Listed first. Only its generations are used.
    pub(super) view: IndexView,
    /// Listed before the index: all that these sessions published is in that listing, or gone.
    pub(super) acks: Acks,
    /// Packs and index objects, with their lengths in bytes. Listed before the marks: what has no mark
    /// by then has ended.
    pub(super) containers: BTreeMap<ContainerRef, u64>,
    pub(super) marks: BTreeSet<BackupLocation>,
    pub(super) ends: Ends,
}

impl Survey {
    pub(super) fn take(store: &dyn Store, keys: &DomainKeys) -> Result<Self> {
        let view = IndexView::take(store, keys)?;
        let domain = keys.id();
        let acks = Acks::list(store, keys)?;
        let containers = list_containers(store, domain)?;
        let marks = list_marks(store, domain)?;
        let ends = Ends::list(store, domain)?;
        Ok(Self { view, acks, containers, marks, ends })
    }

    /// Whether nothing happened since a collection that finished, and nothing that it found worth
    /// repacking fits into so many bytes.
    pub(super) fn is_quiet(&self, repack_bytes: u64) -> bool {
        let generations = &self.view.generations;
        let is_last = generations.keys().all(|name| name.is_last) && generations.len() <= 1;
        let condemned = self.view.condemned();
        let is_worth = |it: &Generation| it.repackable > 0 && it.repackable <= repack_bytes;
        let is_settled = |tomb: &BackupLocation| {
            let mut generations = generations.values();
            let is_said = generations.any(|it| it.settled.contains(&tomb.session));
            is_said && !self.acks.contain(tomb.session)
        };
        is_last
            && !generations.values().any(is_worth)
            && self.marks.is_empty()
            && self.ends.tombs.iter().all(is_settled)
            && self.ends.holds.is_subset(&self.ends.outcomes)
            && !condemned.iter().any(|container| self.containers.contains_key(container))
    }

    /// The sessions that had not ended when this was listed: their packs are no garbage yet.
    pub(super) fn open_sessions(&self) -> BTreeSet<SessionId> {
        self.ends.open_of(&self.marks).into_iter().map(|member| member.session).collect()
    }
}

/// The compacted runs that exist.
pub(super) fn list_compacted(store: &dyn Store, domain: DomainId) -> Result<Vec<ContainerRef>> {
    list_parsed(store, &names::compacted(domain), |name| {
        Some(ContainerRef { place: Place::Compacted, id: name.parse().ok()? })
    })
}
