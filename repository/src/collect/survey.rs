//! G1: what a domain holds, listed in the order that the proof needs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use crate::crypto::DomainKeys;
use crate::error::Result;
use crate::index::{IndexView, list_containers};
use crate::names::{
    self, BackupLocation, ContainerRef, DomainId, Place, SessionId, VolumeId, parse_reader,
    parse_volume_session,
};
use crate::store::Store;

/// A backup, or the session that is to make it.
pub(super) type Member = (VolumeId, SessionId);

/// A domain's keys, each listed once.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// Listed first. Only its generations are used.
    pub(super) view: IndexView,
    /// Packs and index objects, with their lengths in bytes. Listed before the marks: what has no mark
    /// by then has ended.
    pub(super) containers: BTreeMap<ContainerRef, u64>,
    pub(super) marks: BTreeSet<Member>,
    pub(super) ends: Ends,
}

/// How sessions ended. Outcomes are listed before tombs: collection deletes them in this order.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends {
    pub(super) outcomes: BTreeSet<Member>,
    pub(super) tombs: BTreeSet<Member>,
    pub(super) acks: BTreeSet<SessionId>,
}

impl Survey {
    pub(super) fn take(store: &dyn Store, keys: &DomainKeys) -> Result<Self> {
        let view = IndexView::take(store, keys)?;
        let domain = keys.id();
        let containers = list_containers(store, domain)?;
        let marks = list_members(store, &names::sessions(domain))?;
        let ends = Ends::take(store, domain)?;
        Ok(Self { view, containers, marks, ends })
    }

    /// Whether nothing happened since a collection that finished.
    pub(super) fn is_quiet(&self) -> bool {
        let generations = &self.view.generations;
        let is_last = generations.keys().all(|name| name.is_last) && generations.len() <= 1;
        let condemned = self.view.condemned();
        is_last
            && self.marks.is_empty()
            && self.ends.tombs.is_empty()
            && !condemned.iter().any(|container| self.containers.contains_key(container))
    }

    /// The sessions that had not ended when this was listed: their packs are no garbage yet.
    pub(super) fn open_sessions(&self) -> BTreeSet<SessionId> {
        self.ends.open_of(&self.marks).into_iter().map(|(_, session)| session).collect()
    }
}

impl Ends {
    pub(super) fn take(store: &dyn Store, domain: DomainId) -> Result<Self> {
        let outcomes = list_members(store, &names::outcomes(domain))?;
        let tombs = list_members(store, &names::tombs(domain))?;
        let mut acks = BTreeSet::new();
        list(store, &names::acks(domain), |name, _| acks.extend(name.parse::<SessionId>()))?;
        Ok(Self { outcomes, tombs, acks })
    }

    /// Those of the marked sessions that have not ended.
    pub(super) fn open_of(&self, marks: &BTreeSet<Member>) -> BTreeSet<Member> {
        let has_ended = |member: &Member| {
            self.outcomes.contains(member)
                || self.tombs.contains(member)
                || self.acks.contains(&member.1)
        };
        marks.iter().filter(|member| !has_ended(member)).copied().collect()
    }
}

/// The marks of uploads.
pub(super) fn list_marks(store: &dyn Store, domain: DomainId) -> Result<BTreeSet<Member>> {
    list_members(store, &names::sessions(domain))
}

/// The backups that somebody reads.
pub(super) fn list_read(store: &dyn Store, domain: DomainId) -> Result<BTreeSet<Member>> {
    let prefix = names::readers(domain);
    let mut read = BTreeSet::new();
    store.list(&prefix, &mut |entry| {
        let parsed = parse_reader(&prefix, &entry.key);
        read.extend(parsed.map(|(volume, session, _)| (volume, session)));
        ControlFlow::Continue(())
    })?;
    Ok(read)
}

/// The compacted runs that exist.
pub(super) fn list_compacted(store: &dyn Store, domain: DomainId) -> Result<Vec<ContainerRef>> {
    let mut found = Vec::new();
    list(store, &names::compacted(domain), |name, _| {
        let container = name.parse().map(|id| ContainerRef { place: Place::Compacted, id });
        found.extend(container);
    })?;
    Ok(found)
}

fn list_members(store: &dyn Store, prefix: &str) -> Result<BTreeSet<Member>> {
    let mut members = BTreeSet::new();
    store.list(prefix, &mut |entry| {
        members.extend(parse_volume_session(prefix, &entry.key));
        ControlFlow::Continue(())
    })?;
    Ok(members)
}

fn list(store: &dyn Store, prefix: &str, mut visit: impl FnMut(&str, u64)) -> Result<()> {
    Ok(store.list(prefix, &mut |entry| {
        if let Some(name) = entry.key.strip_prefix(prefix) {
            visit(name, entry.size_bytes);
        }
        ControlFlow::Continue(())
    })?)
}

/// Where a member's keys stand.
pub(super) fn location(domain: DomainId, (volume, session): Member) -> BackupLocation {
    BackupLocation { domain, volume, session }
}
