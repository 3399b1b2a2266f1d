//! Holds: a backup that has one is not deleted until somebody lifts it (FORMAT.md, section 12).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::listing::{exists, is_live};
use crate::names::BackupLocation;
use crate::sealed::{self, SealedKind, sealed_bytes_max};
use crate::store::{Creation, Store, StoreErrorKind};
use crate::upload::create;

const VERSION: u32 = 1;
const PLAIN_BYTES_MAX: usize = 16 << 10;
/// Longest hold.
const HOLD_BYTES_MAX: u64 = sealed_bytes_max(PLAIN_BYTES_MAX);

/// Why a backup must stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// In the words of whoever held it; `cannot be read` where it is damaged or of a newer version.
    pub reason: String,
    /// The host that held it, as it calls itself; empty if the hold cannot be read.
    pub client: String,
    /// By that host's clock; `None` if the hold cannot be read.
    pub held_at: Option<Timestamp>,
}

/// A hold as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    version: u32,
    reason: String,
    client: String,
    held_at: Timestamp,
}

impl Hold {
    fn unreadable() -> Self {
        Self { reason: "cannot be read".to_owned(), client: String::new(), held_at: None }
    }

    fn open(keys: &DomainKeys, key: &str, bytes: &[u8]) -> Option<Self> {
        let plain = sealed::open_kind(keys, key, SealedKind::Hold, bytes).ok()?;
        let Document { version, reason, client, held_at } = serde_json::from_slice(&plain).ok()?;
        (version <= VERSION).then_some(Self { reason, client, held_at: Some(held_at) })
    }
}

impl Document {
    fn new(client: &str, reason: &str) -> Result<Self> {
        if reason.trim().is_empty() {
            return Err(Error::InvalidInput("the reason of the hold is empty".to_owned()));
        }
        if reason.contains(char::is_control) {
            let message = "the reason of the hold has control characters: it is one line of text";
            return Err(Error::InvalidInput(message.to_owned()));
        }
        // Names are the host's.
        let client = client.chars().take(1000).collect();
        let reason = reason.to_owned();
        Ok(Self { version: VERSION, reason, client, held_at: Timestamp::now() })
    }

    fn seal(&self, keys: &DomainKeys, key: &str) -> Result<Vec<u8>> {
        let plain = serde_json::to_vec(self).map_err(|_| Error::Internal("writing a hold"))?;
        if plain.len() > PLAIN_BYTES_MAX {
            let message = format!("the reason of the hold is longer than {PLAIN_BYTES_MAX} bytes");
            return Err(Error::InvalidInput(message));
        }
        sealed::seal(keys, key, SealedKind::Hold, plain)
    }
}

/// The hold on a backup. What does not open holds all the same.
pub(crate) fn read(
    store: &dyn Store,
    keys: &DomainKeys,
    backup: BackupLocation,
) -> Result<Option<Hold>> {
    let key = backup.hold();
    match store.get(&key, HOLD_BYTES_MAX) {
        Ok(bytes) => Ok(Some(Hold::open(keys, &key, &bytes).unwrap_or_else(Hold::unreadable))),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) if error.kind == StoreErrorKind::TooLarge => Ok(Some(Hold::unreadable())),
        Err(error) => Err(error.into()),
    }
}

/// As [`read`], of a hold that was listed: one that the store fails to give hides no backup.
pub(crate) fn read_listed(
    store: &dyn Store,
    keys: &DomainKeys,
    backup: BackupLocation,
) -> Result<Option<Hold>> {
    match read(store, keys, backup) {
        Err(error) if error.is_of_one_backup() => Ok(Some(Hold::unreadable())),
        read => read,
    }
}

/// Refuses to go on with what would delete a held backup.
///
/// # Errors
/// `BackupHeld`, and what the store reports.
pub(crate) fn refuse_held(
    store: &dyn Store,
    keys: &DomainKeys,
    backup: BackupLocation,
) -> Result<()> {
    match read(store, keys, backup)? {
        Some(hold) => Err(held(backup, hold)),
        None => Ok(()),
    }
}

/// Holds a backup: the hold is created first, then the backup is seen to be live. Who holds it for the
/// same reason already has done so.
///
/// # Errors
/// `InvalidInput` for the reason, `BackupHeld` where it is held for another one, `BackupNotFound` if
/// it was deleted, and what the store reports.
pub(crate) fn put(
    store: &dyn Store,
    keys: &DomainKeys,
    backup: BackupLocation,
    client: &str,
    reason: &str,
) -> Result<Hold> {
    let key = backup.hold();
    let document = Document::new(client, reason)?;
    let bytes = document.seal(keys, &key)?;
    let hold = loop {
        if let Some(present) = read(store, keys, backup)? {
            if present.reason != reason {
                return Err(held(backup, present));
            }
            break present;
        }
        // Where one has come meanwhile it is looked at.
        if let Creation::Created | Creation::CreatedInDoubt = create(store, "hold", &key, &bytes)? {
            let Document { reason, client, held_at, .. } = document;
            break Hold { reason, client, held_at: Some(held_at) };
        }
    };
    if !is_live(store, backup)? {
        // One that stays is removed by collection.
        let _ = store.delete(&key);
        return Err(Error::BackupNotFound { id: backup.session.to_string() });
    }
    Ok(hold)
}

/// Lifts a hold, also one that cannot be read.
///
/// # Errors
/// `NotHeld`, and what the store reports.
pub(crate) fn lift(store: &dyn Store, backup: BackupLocation) -> Result<()> {
    let not_held = || Error::NotHeld { id: backup.session.to_string() };
    let key = backup.hold();
    // Not every store can tell by the deletion.
    if !exists(store, &key)? {
        return Err(not_held());
    }
    store.delete(&key).map_err(|error| if error.is_not_found() { not_held() } else { error.into() })
}

fn held(backup: BackupLocation, hold: Hold) -> Error {
    Error::BackupHeld { id: backup.session.to_string(), reason: hold.reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Encryption, RepositoryKeys, Secret};
    use crate::names::DomainId;

    fn keys() -> DomainKeys {
        let keys = RepositoryKeys::new(Secret::new([1; 32]));
        keys.domain(DomainId([2; 16]), [3; 16], Encryption::default())
    }

    fn reopened(plain: &str) -> Option<Hold> {
        let bytes = sealed::seal(&keys(), "a/b.hold", SealedKind::Hold, plain.into()).unwrap();
        Hold::open(&keys(), "a/b.hold", &bytes)
    }

    #[test]
    fn a_hold_is_read_as_it_was_written_and_a_newer_one_is_not_understood() {
        let fields = r#""reason":"audit","client":"edge","heldAt":"2026-01-31T12:00:00Z""#;
        let hold = reopened(&format!("{{\"version\":1,\"more\":0,{fields}}}")).unwrap();
        assert_eq!((hold.reason.as_str(), hold.client.as_str()), ("audit", "edge"));
        assert_eq!(hold.held_at, Some("2026-01-31T12:00:00Z".parse().unwrap()));
        assert_eq!(reopened(&format!("{{\"version\":2,{fields}}}")), None);
        assert_eq!(reopened("{}"), None);
        let mark = sealed::seal(&keys(), "a/b.hold", SealedKind::Mark, b"{}".to_vec()).unwrap();
        assert_eq!(Hold::open(&keys(), "a/b.hold", &mark), None);
    }

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        let seal = |reason: &str| Document::new("edge", reason)?.seal(&keys(), "a/b.hold");
        for reason in ["audit 7", "Beweismittel für März", &"x".repeat(16_000)] {
            let bytes = seal(reason).unwrap();
            assert!(bytes.len() as u64 <= HOLD_BYTES_MAX);
            assert_eq!(Hold::open(&keys(), "a/b.hold", &bytes).unwrap().reason, reason);
        }
        for reason in ["", "  ", "two\nlines", "\u{1b}[2J", &"x".repeat(16 << 10)] {
            assert!(matches!(seal(reason), Err(Error::InvalidInput(_))), "{reason:?}");
        }
    }
}
