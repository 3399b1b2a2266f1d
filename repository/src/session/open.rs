//! The sessions that have not ended, for the operator, who alone knows whether their owners are dead.

use jiff::Timestamp;

use super::mark::Mark;
use super::members::{Ends, Readers, list_marks};
use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::manifest;
use crate::names::{BackupLocation, DomainId};
use crate::store::Store;
use crate::upload::create;

/// Somebody who uploads or reads, or did so when it died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// Its id: of an upload the one its backup would have.
    pub id: String,
    /// What it does.
    pub kind: SessionKind,
    /// As it calls itself; empty if its mark cannot be read.
    pub client: String,
    /// The volume that it uploads, or whose backup it reads.
    pub volume: String,
    /// By its own clock.
    pub started_at: Option<Timestamp>,
    member: BackupLocation,
    key: String,
}

impl OpenSession {
    pub(crate) fn domain(&self) -> DomainId {
        self.member.domain
    }
}

/// What an open session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// It uploads: nothing can be collected before it ends.
    Upload,
    /// It reads a backup, whose blocks stay meanwhile.
    Read,
}

/// All of a domain's open sessions, oldest first.
pub(crate) fn open_sessions(store: &dyn Store, keys: &DomainKeys) -> Result<Vec<OpenSession>> {
    let marks = list_marks(store, keys.id())?;
    let uploads = Ends::list(store, keys.id())?.open_of(&marks);
    let uploads = uploads
        .into_iter()
        .map(|member| (SessionKind::Upload, member.session.to_string(), member, member.mark()));
    let readers = Readers::list(store, keys.id())?.open.into_iter().map(|(member, reader)| {
        (SessionKind::Read, reader.to_string(), member, member.reader(reader))
    });
    let mut sessions = Vec::new();
    for (kind, id, member, key) in uploads.chain(readers) {
        let mark = match Mark::read(store, keys, &key) {
            Ok(Some(mark)) => Some(mark),
            Ok(None) => continue,
            Err(Error::Damaged { .. } | Error::NewerFormat { .. }) => None,
            Err(error) => return Err(error),
        };
        let started_at = mark.as_ref().map(|mark| mark.started_at);
        let (client, volume) = mark.map(|mark| (mark.client, mark.volume)).unwrap_or_default();
        sessions.push(OpenSession { id, kind, client, volume, started_at, member, key });
    }
    sessions.sort_by_key(|session| session.started_at);
    Ok(sessions)
}

/// Ends a session whose owner is dead: an upload cannot commit any more, and what a reader read may go.
pub(crate) fn end_session(
    store: &dyn Store,
    keys: &DomainKeys,
    session: &OpenSession,
) -> Result<()> {
    match session.kind {
        SessionKind::Upload => {
            let fence = manifest::seal_fence(keys, &session.member)?;
            create(store, "fence", &session.member.outcome(), &fence)?;
        }
        SessionKind::Read => match store.delete(&session.key) {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => {}
        },
    }
    Ok(())
}
