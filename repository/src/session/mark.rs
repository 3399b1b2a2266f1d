//! What a mark says, for the operator who has to decide whether its owner is dead.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::sealed::{self, SealedKind, sealed_bytes_max};
use crate::store::Store;

const VERSION: u32 = 1;
const PLAIN_BYTES_MAX: usize = 16 << 10;
/// Longest mark.
const MARK_BYTES_MAX: u64 = sealed_bytes_max(PLAIN_BYTES_MAX);

/// What the owner of a mark does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MarkKind {
    Upload,
    Read,
}

/// Who does what, and since when. Nothing that is safe rests on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Mark {
    version: u32,
    pub(crate) kind: MarkKind,
    /// As the owner calls itself.
    pub(crate) client: String,
    /// The volume's identity, or its name.
    pub(crate) volume: String,
    /// By the owner's clock.
    pub(crate) started_at: Timestamp,
}

impl Mark {
    pub(crate) fn new(kind: MarkKind, client: &str, volume: &str) -> Self {
        // Names are the host's; a mark of any length would be refused by whoever reads it.
        let short = |text: &str| text.chars().take(1000).collect();
        let (client, volume) = (short(client), short(volume));
        Self { version: VERSION, kind, client, volume, started_at: Timestamp::now() }
    }

    /// The object to put at `key`.
    pub(crate) fn seal(&self, keys: &DomainKeys, key: &str) -> Result<Vec<u8>> {
        let plain = serde_json::to_vec(self).map_err(|_| Error::Internal("writing a mark"))?;
        sealed::seal(keys, key, SealedKind::Mark, plain)
    }

    /// What the mark at `key` says; `None` if it is gone.
    pub(crate) fn read(store: &dyn Store, keys: &DomainKeys, key: &str) -> Result<Option<Self>> {
        let bytes = match store.get(key, MARK_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let plain = sealed::open_kind(keys, key, SealedKind::Mark, &bytes)?;
        let mark = serde_json::from_slice(&plain);
        mark.map(Some).map_err(|error| Error::damaged(key, error.to_string()))
    }
}
