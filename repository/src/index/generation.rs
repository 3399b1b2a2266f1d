//! Generations: what collection tells writers before it deletes anything (FORMAT.md, sections 11
//! and 13).

use std::collections::BTreeSet;

use crate::container::u32_at;
use crate::id::Id;
use crate::names::{ContainerId, ContainerRef, Place, SessionId};
use crate::sealed::sealed_bytes_max;

/// Containers that collection condemns at most; what is dead beyond that waits for its next run.
pub(crate) const CONDEMNED_MAX: usize = 262_144;
/// What a reader takes: several collectors may have added to what was condemned.
const CONDEMNED_READ_MAX: usize = 4 * CONDEMNED_MAX;
const RUNS_MAX: usize = 65_536;
/// Sessions whose deleted backups it says are settled; of more it says nothing.
pub(crate) const SETTLED_MAX: usize = 65_536;

const HEAD_BYTES: usize = 20;
const CONDEMNED_BYTES: usize = 33;
const RUN_BYTES: usize = 72;
const SETTLED_BYTES: usize = 16;

/// Longest generation object.
pub(crate) const GENERATION_BYTES_MAX: u64 = sealed_bytes_max(
    HEAD_BYTES
        + CONDEMNED_READ_MAX * CONDEMNED_BYTES
        + RUNS_MAX * RUN_BYTES
        + SETTLED_MAX * SETTLED_BYTES,
);

/// What a generation says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Generation {
    /// Containers that may be gone at any moment: nothing new may count on them.
    pub(crate) condemned: BTreeSet<ContainerRef>,
    /// The runs that collection made and that name nothing which is gone and not condemned.
    pub(crate) runs: BTreeSet<CompactedRun>,
    /// Sessions of deleted backups of which all is done that can be: their tombs stay, since no ack says
    /// that nothing of them can arrive.
    pub(crate) settled: BTreeSet<SessionId>,
    /// The least that had to be stored again so that something else could go, in bytes; 0: nothing is
    /// worth it. Maintenance goes by it where nothing else has happened.
    pub(crate) repackable: u64,
}

/// An index run that collection made, as a generation names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CompactedRun {
    pub(crate) id: ContainerId,
    /// Length of its object in bytes.
    pub(crate) size: u64,
    /// The first blob it names. Runs of one collector do not overlap.
    pub(crate) first: Id,
}

impl CompactedRun {
    pub(crate) fn container(&self) -> ContainerRef {
        ContainerRef { place: Place::Compacted, id: self.id }
    }
}

impl Generation {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(
            HEAD_BYTES
                + self.condemned.len() * CONDEMNED_BYTES
                + self.runs.len() * RUN_BYTES
                + self.settled.len() * SETTLED_BYTES,
        );
        for count in [self.condemned.len(), self.runs.len(), self.settled.len()] {
            bytes.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
        }
        bytes.extend(self.repackable.to_le_bytes());
        for container in &self.condemned {
            bytes.push(container.place.number());
            bytes.extend(container.id.0);
        }
        for run in &self.runs {
            bytes.extend(run.id.0);
            bytes.extend(run.size.to_le_bytes());
            bytes.extend(run.first.0);
        }
        for session in &self.settled {
            bytes.extend(session.0);
        }
        bytes
    }

    /// The message of an error says what is wrong.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let count = |at| u32_at(bytes, at).map(|count| count as usize).ok_or("it has no head");
        let (condemned_count, runs_count, settled_count) = (count(0)?, count(4)?, count(8)?);
        let repackable =
            bytes.get(12..).and_then(|rest| rest.first_chunk()).ok_or("it has no head")?;
        if condemned_count > CONDEMNED_READ_MAX
            || runs_count > RUNS_MAX
            || settled_count > SETTLED_MAX
        {
            return Err("its counts are out of bounds");
        }
        let runs_at = HEAD_BYTES + condemned_count * CONDEMNED_BYTES;
        let settled_at = runs_at + runs_count * RUN_BYTES;
        if bytes.len() != settled_at + settled_count * SETTLED_BYTES {
            return Err("its length does not fit its counts");
        }
        let condemned = bytes[HEAD_BYTES..runs_at].chunks_exact(CONDEMNED_BYTES);
        let runs = bytes[runs_at..settled_at].chunks_exact(RUN_BYTES);
        let settled = bytes[settled_at..].chunks_exact(SETTLED_BYTES);
        Ok(Self {
            condemned: ascending(condemned.map(parse_condemned))?,
            runs: ascending(runs.map(parse_run))?,
            settled: ascending(settled.map(|raw| Some(SessionId(*raw.first_chunk()?))))?,
            repackable: u64::from_le_bytes(*repackable),
        })
    }
}

fn parse_condemned(raw: &[u8]) -> Option<ContainerRef> {
    let (place, id) = raw.split_first()?;
    Some(ContainerRef { place: Place::from_number(*place)?, id: ContainerId(*id.first_chunk()?) })
}

fn parse_run(raw: &[u8]) -> Option<CompactedRun> {
    let size = u64::from_le_bytes(*raw.get(32..40)?.first_chunk()?);
    Some(CompactedRun { id: ContainerId(*raw.first_chunk()?), size, first: Id(*raw.last_chunk()?) })
}

/// A set has one spelling: in ascending order.
fn ascending<T: Ord>(items: impl Iterator<Item = Option<T>>) -> Result<BTreeSet<T>, &'static str> {
    let mut set = BTreeSet::new();
    for item in items {
        let item = item.ok_or("it names something of no known kind")?;
        if set.last().is_some_and(|last| *last >= item) {
            return Err("what it names is not in order");
        }
        set.insert(item);
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_generation_has_one_spelling() {
        let container = |place, byte| ContainerRef { place, id: ContainerId([byte; 32]) };
        let generation = Generation {
            condemned: [
                container(Place::Pack, 1),
                container(Place::Pack, 9),
                container(Place::Index, 0),
            ]
            .into(),
            runs: [CompactedRun { id: ContainerId([4; 32]), size: 1 << 33, first: Id([5; 32]) }]
                .into(),
            settled: [SessionId([6; 16]), SessionId([7; 16])].into(),
            repackable: 1 << 20,
        };
        let bytes = generation.encode();
        assert_eq!(Generation::parse(&bytes).unwrap(), generation);
        let mut swapped = bytes.clone();
        swapped.copy_within(HEAD_BYTES..HEAD_BYTES + 33, HEAD_BYTES + 33);
        assert!(Generation::parse(&swapped).is_err(), "one container twice");
        assert!(Generation::parse(&bytes[..bytes.len() - 1]).is_err());
        let empty = Generation::default();
        assert_eq!(Generation::parse(&empty.encode()).unwrap(), empty);
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused(mut bytes in proptest::collection::vec(0u8..4, 0..300)) {
            if let Some(counts) = bytes.first_chunk_mut::<12>() {
                counts.chunks_exact_mut(4).for_each(|count| count[1..].fill(0));
            }
            if let Ok(generation) = Generation::parse(&bytes) {
                prop_assert_eq!(generation.encode(), bytes);
            }
        }
    }
}
