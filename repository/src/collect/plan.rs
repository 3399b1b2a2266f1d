//! What may go, as pure functions of what was listed.

use std::collections::{BTreeMap, BTreeSet};

use super::survey::Survey;
use crate::index::{CONDEMNED_MAX, Generation, SETTLED_MAX};
use crate::names::{BackupLocation, ContainerRef, Place, SessionId};
use crate::session::Ends;

type Containers = BTreeSet<ContainerRef>;

/// What this run condemns: packs, and index objects that carry blobs, of sessions that have ended,
/// which nothing live needs.
pub(super) fn candidates(
    survey: &Survey,
    carriers: &Containers,
    is_needed: impl Fn(&ContainerRef) -> bool,
    inherited: &Containers,
) -> Containers {
    let open = survey.open_sessions();
    let is_there = |container: &&ContainerRef| survey.containers.contains_key(container);
    let room = CONDEMNED_MAX.saturating_sub(inherited.iter().filter(is_there).count());
    survey
        .containers
        .keys()
        .filter(|container| container.place == Place::Pack || carriers.contains(container))
        .filter(|container| !open.contains(&container.id.session()))
        .filter(|container| !is_needed(container) && !inherited.contains(container))
        .take(room)
        .copied()
        .collect()
}

/// What may be deleted: condemned, there, and not spared for what is live or read.
pub(super) fn deletable(
    condemned: &Containers,
    there: &BTreeMap<ContainerRef, u64>,
    spared: &Containers,
) -> Containers {
    let is_there = |container: &&ContainerRef| there.contains_key(container);
    condemned.difference(spared).filter(is_there).copied().collect()
}

/// What the last generation goes on to condemn, once what was `deletable` is gone. What others condemned
/// stays so until it is gone, and what is gone until nothing of its session can arrive any more.
pub(super) fn still_condemned(
    survey: &Survey,
    inherited: &Containers,
    own: &Containers,
    deletable: &Containers,
) -> Containers {
    let is_condemned = |container: &&ContainerRef| {
        let is_gone = !survey.containers.contains_key(container) || deletable.contains(container);
        if is_gone { !survey.acks.settle(container.id) } else { inherited.contains(container) }
    };
    inherited.union(own).filter(is_condemned).copied().collect()
}

/// The sessions of deleted backups of which the next collection has nothing to do: their tombs stay for want
/// of an ack.
pub(super) fn settled(survey: &Survey, read: &BTreeSet<BackupLocation>) -> BTreeSet<SessionId> {
    let tombs = survey.ends.tombs.difference(read).map(|tomb| tomb.session);
    tombs.filter(|session| !survey.acks.contain(*session)).take(SETTLED_MAX).collect()
}

/// Keys that say nothing any more, in the order in which they are deleted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Leftovers {
    /// Of sessions whose end was seen.
    pub(super) marks: Vec<BackupLocation>,
    /// Of backups that are deleted and sessions that were fenced, of which nothing can arrive.
    pub(super) outcomes: Vec<BackupLocation>,
    pub(super) tombs: Vec<BackupLocation>,
    /// Of sessions of which nothing else is left.
    pub(super) acks: Vec<SessionId>,
    /// Of backups that are deleted, or gone.
    pub(super) holds: Vec<BackupLocation>,
}

/// `later` are the members that had an outcome at G4, `read` those that were read then.
pub(super) fn leftovers(
    survey: &Survey,
    fenced: &BTreeSet<BackupLocation>,
    later: &BTreeSet<BackupLocation>,
    read: &BTreeSet<BackupLocation>,
    last: &Generation,
) -> Leftovers {
    let Survey { acks, containers, marks, ends, .. } = survey;
    let Ends { outcomes, tombs, holds, .. } = ends;
    let is_acked =
        |member: &&BackupLocation| acks.contain(member.session) && !read.contains(member);
    let gone =
        |members: &BTreeSet<BackupLocation>| members.iter().filter(is_acked).copied().collect();
    let dead: BTreeSet<BackupLocation> =
        outcomes.iter().filter(|it| tombs.contains(it) || fenced.contains(it)).copied().collect();
    // A tomb goes behind its outcome. At G1 that may have been made while it was listed.
    let without_outcome = |it: &&BackupLocation| dead.contains(it) || !later.contains(it);
    let bare: BTreeSet<BackupLocation> = tombs.iter().filter(without_outcome).copied().collect();
    let mut in_use: BTreeSet<SessionId> = BTreeSet::new();
    in_use.extend([marks, outcomes, tombs].into_iter().flatten().map(|it| it.session));
    in_use.extend(containers.keys().chain(&last.condemned).map(|it| it.id.session()));
    Leftovers {
        marks: marks
            .iter()
            .filter(|it| outcomes.contains(it) || tombs.contains(it))
            .copied()
            .collect(),
        outcomes: gone(&dead),
        tombs: gone(&bare),
        acks: acks.sessions().filter(|session| !in_use.contains(session)).collect(),
        // What is held had an outcome before; the outcomes of G4 were listed behind these holds.
        holds: holds
            .iter()
            .filter(|it| tombs.contains(it) || !later.contains(it))
            .copied()
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{DomainId, VolumeId};

    fn backup(number: u8) -> BackupLocation {
        let (domain, volume) = (DomainId([0; 16]), VolumeId([0; 16]));
        BackupLocation { domain, volume, session: SessionId([number; 16]) }
    }

    #[test]
    fn a_hold_goes_with_what_it_held_and_not_before() {
        let [live, dead, gone, new] = [1, 2, 3, 4].map(backup);
        let mut survey = Survey::default();
        survey.ends.outcomes = [live, dead].into();
        survey.ends.tombs = [dead].into();
        // The listing of outcomes missed one that came while it went on.
        survey.ends.holds = [live, dead, gone, new].into();
        let later = [live, dead, new].into();
        let nothing = BTreeSet::new();
        let last = Generation::default();
        let leftovers = leftovers(&survey, &nothing, &later, &nothing, &last);
        assert_eq!(leftovers.holds, [dead, gone]);
        assert_eq!(leftovers.outcomes, [], "its session may still send something");
        survey.ends.tombs.clear();
        survey.ends.holds = [live].into();
        assert!(survey.is_quiet(0), "a held backup is no work");
        survey.ends.holds.insert(gone);
        assert!(!survey.is_quiet(0));
    }
}
