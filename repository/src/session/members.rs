//! Which sessions there are, and how they ended.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::error::Result;
use crate::names::{
    self, BackupLocation, DigestLocation, DomainId, ReaderId, Retention, VolumeId, parse_digest,
    parse_reader, parse_retention, parse_volume_session,
};
use crate::store::Store;

/// How sessions ended. Tombs are listed before outcomes: what has none then was live, or its outcome,
/// which collection deletes first, is gone by now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    pub(crate) outcomes: BTreeSet<BackupLocation>,
    pub(crate) tombs: BTreeSet<BackupLocation>,
    /// Those that are held. Nothing ends by it; they are listed with the tombs.
    pub(crate) holds: BTreeSet<BackupLocation>,
    /// Listed with the outcomes.
    pub(crate) digests: BTreeSet<DigestLocation>,
}

impl Ends {
    pub(crate) fn list(store: &dyn Store, domain: DomainId) -> Result<Self> {
        Self::list_below(store, domain, "")
    }

    /// Of one volume's sessions only.
    pub(crate) fn list_of(store: &dyn Store, domain: DomainId, volume: VolumeId) -> Result<Self> {
        Self::list_below(store, domain, &format!("{volume}/"))
    }

    fn list_below(store: &dyn Store, domain: DomainId, below: &str) -> Result<Self> {
        let [outcomes, retention] =
            [names::outcomes(domain), names::retention(domain)].map(|prefix| prefix + below);
        let mut ends = Self::default();
        let said = list_parsed(store, &retention, |name| {
            let (volume, session, says) = parse_retention("", &format!("{below}{name}"))?;
            Some((BackupLocation { domain, volume, session }, says))
        })?;
        for (member, says) in said {
            match says {
                Retention::Tomb => ends.tombs.insert(member),
                Retention::Hold => ends.holds.insert(member),
            };
        }
        store.list(&outcomes, &mut |entry| {
            let name = format!("{below}{}", entry.key.strip_prefix(&outcomes).unwrap_or_default());
            if let Some((volume, session)) = parse_volume_session("", &name) {
                ends.outcomes.insert(BackupLocation { domain, volume, session });
            } else if let Some((volume, id)) = parse_digest("", &name) {
                ends.digests.insert(DigestLocation { domain, volume, id });
            }
            ControlFlow::Continue(())
        })?;
        Ok(ends)
    }

    /// Those of the marked sessions that have not ended.
    pub(crate) fn open_of(&self, marks: &BTreeSet<BackupLocation>) -> BTreeSet<BackupLocation> {
        let has_ended =
            |member: &BackupLocation| self.outcomes.contains(member) || self.tombs.contains(member);
        marks.iter().filter(|member| !has_ended(member)).copied().collect()
    }
}

/// The marks of uploads.
pub(crate) fn list_marks(store: &dyn Store, domain: DomainId) -> Result<BTreeSet<BackupLocation>> {
    list_members(store, domain, &names::sessions(domain))
}

/// One reading of a backup.
pub(crate) type Reading = (BackupLocation, ReaderId);

/// Who reads backups. A reader that may not delete its mark says by another one that it has ended.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    pub(crate) open: BTreeSet<Reading>,
    pub(crate) ended: BTreeSet<Reading>,
}

impl Readers {
    pub(crate) fn list(store: &dyn Store, domain: DomainId) -> Result<Self> {
        let mut readers = Self::default();
        let prefix = names::readers(domain);
        store.list(&prefix, &mut |entry| {
            let (name, has_ended) = match entry.key.strip_suffix(names::READER_END) {
                Some(name) => (name, true),
                None => (entry.key.as_str(), false),
            };
            if let Some((volume, session, reader)) = parse_reader(&prefix, name) {
                let reading = (BackupLocation { domain, volume, session }, reader);
                if has_ended {
                    readers.ended.insert(reading);
                } else {
                    readers.open.insert(reading);
                }
            }
            ControlFlow::Continue(())
        })?;
        readers.open = &readers.open - &readers.ended;
        Ok(readers)
    }
}

fn list_members(
    store: &dyn Store,
    domain: DomainId,
    prefix: &str,
) -> Result<BTreeSet<BackupLocation>> {
    let members = list_parsed(store, prefix, |name| {
        let (volume, session) = parse_volume_session("", name)?;
        Some(BackupLocation { domain, volume, session })
    })?;
    Ok(members.into_iter().collect())
}

/// What is below a prefix; names of another shape are left out.
pub(crate) fn list_parsed<T>(
    store: &dyn Store,
    prefix: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>> {
    let mut found = Vec::new();
    store.list(prefix, &mut |entry| {
        found.extend(entry.key.strip_prefix(prefix).and_then(&parse));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}
