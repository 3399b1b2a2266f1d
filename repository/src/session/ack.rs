//! Acks: that a session sends nothing more, and which of its packs may arrive all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::names::{self, ContainerId, SessionId};
use crate::sealed::{self, SealedKind, sealed_bytes_max};
use crate::store::Store;
use crate::upload::create;

/// Packs in doubt that an ack names at most; a session with more has none.
pub(crate) const DOUBTFUL_MAX: usize = 1024;
const ID_BYTES: usize = size_of::<ContainerId>();

/// W4: that an upload sends nothing more. `doubtful` are packs of which a first attempt may still
/// arrive.
pub(crate) fn put_ack(
    store: &dyn Store,
    keys: &DomainKeys,
    session: SessionId,
    doubtful: &BTreeSet<ContainerId>,
) -> Result<()> {
    let key = names::ack(keys.id(), session);
    let bytes = if doubtful.is_empty() {
        Vec::new()
    } else {
        let ids = doubtful.iter().flat_map(|id| id.0).collect();
        sealed::seal(keys, &key, SealedKind::Ack, ids)?
    };
    create(store, "ack", &key, &bytes)?;
    Ok(())
}

/// The sessions that have ended and send nothing more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acks(BTreeMap<SessionId, BTreeSet<ContainerId>>);

impl Acks {
    /// One that cannot be read is none.
    pub(crate) fn list(store: &dyn Store, keys: &DomainKeys) -> Result<Self> {
        let (mut acks, mut with_doubts) = (Self::default(), Vec::new());
        let prefix = names::acks(keys.id());
        store.list(&prefix, &mut |entry| {
            let session = entry.key.strip_prefix(&prefix).and_then(|name| name.parse().ok());
            match session {
                Some(session) if entry.size_bytes == 0 => {
                    acks.0.insert(session, BTreeSet::new());
                }
                Some(session) => with_doubts.push((session, entry.key)),
                None => {}
            }
            ControlFlow::Continue(())
        })?;
        for (session, key) in with_doubts {
            match read(store, keys, &key) {
                Ok(doubtful) => drop(acks.0.insert(session, doubtful)),
                Err(Error::Damaged { .. } | Error::NewerFormat { .. }) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(acks)
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.0.keys().copied()
    }

    pub(crate) fn contain(&self, session: SessionId) -> bool {
        self.0.contains_key(&session)
    }

    /// Whether this container stays gone, once it is.
    pub(crate) fn settle(&self, container: ContainerId) -> bool {
        self.0.get(&container.session()).is_some_and(|doubtful| !doubtful.contains(&container))
    }
}

fn read(store: &dyn Store, keys: &DomainKeys, key: &str) -> Result<BTreeSet<ContainerId>> {
    let bytes = store.get(key, sealed_bytes_max(DOUBTFUL_MAX * ID_BYTES))?;
    let plain = sealed::open_kind(keys, key, SealedKind::Ack, &bytes)?;
    let (ids, []) = plain.as_chunks::<ID_BYTES>() else {
        return Err(Error::damaged(key, "its length is not that of ids"));
    };
    Ok(ids.iter().map(|id| ContainerId(*id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Encryption, RepositoryKeys, Secret};
    use crate::names::DomainId;
    use crate::store::DirectoryStore;
    use thinmover_io::IoEngine;

    #[test]
    fn an_ack_settles_all_packs_but_those_it_names_and_none_if_it_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirectoryStore::new(dir.path().join("r"), IoEngine::default());
        let keys = RepositoryKeys::new(Secret::new([1; 32]));
        let keys = keys.domain(DomainId([2; 16]), [3; 16], Encryption::default());
        let [plain, doubting, damaged] = [1, 2, 3].map(|n| SessionId([n; 16]));
        let pack = |session| ContainerId::random(session).unwrap();
        let (late, other) = (pack(doubting), pack(doubting));
        put_ack(&store, &keys, plain, &BTreeSet::new()).unwrap();
        put_ack(&store, &keys, doubting, &[late].into()).unwrap();
        store.create(&names::ack(keys.id(), damaged), b"cut short").unwrap();
        let acks = Acks::list(&store, &keys).unwrap();
        assert_eq!(acks.sessions().collect::<Vec<_>>(), [plain, doubting]);
        assert!(acks.settle(pack(plain)) && acks.settle(other));
        assert!(!acks.settle(late) && !acks.settle(pack(damaged)));
        assert!(acks.contain(doubting) && !acks.contain(damaged));
    }
}
