//! What a backup is: the document that its outcome holds (FORMAT.md, section 11).

mod outcome;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::id::Id;
use crate::image::ImageRoot;
use crate::mapped::MappedRoot;
use crate::names::{BackupLocation, DomainId, SessionId, VolumeId};

pub(crate) use outcome::{OUTCOME_BYTES_MAX, Outcome, open, seal, seal_fence};

/// The version of manifests this build writes, and the newest it reads.
const VERSION: u32 = 1;

/// Where an image comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The host's id, made once by the agent.
    pub host: String,
    /// The host's name at the time, for people.
    #[serde(default)]
    pub hostname: String,
    /// `VG/LV`, or a path.
    pub name: String,
    /// The logical volume's UUID, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Its volume group's UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vg_uuid: Option<String>,
    /// Fields of newer versions, kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A backup as it is listed: complete and immutable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Of this document.
    version: u32,
    /// The backup's id, 32 hex digits.
    pub id: String,
    /// Where the image comes from.
    pub source: Source,
    /// When the image was taken.
    pub created_at: Timestamp,
    /// `block`.
    pub mode: String,
    /// How much had to be read.
    pub tier: String,
    /// Why that much.
    #[serde(default)]
    pub reason: String,
    /// Size of the image.
    pub total_bytes: u64,
    /// The image's unit.
    pub block_bytes: u32,
    /// Root of the image's tree; the hole for an image of zeroes.
    pub image: Id,
    /// Root of the list of mapped chunks, where one was recorded; the hole if none was mapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapped: Option<Id>,
    /// Chunk size of the pool, where there is a list of mapped chunks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_bytes: Option<u32>,
    /// What the image's volume was a moment of, in the uploader's words, for the next upload to
    /// compare with; the repository does not look into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Value>,
    /// Read from the source.
    pub read_bytes: u64,
    /// Of those, not known to the repository before (plain).
    pub new_bytes: u64,
    /// Length of the objects stored for it, this document excluded.
    pub stored_bytes: u64,
    /// The caller's.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How long it is wanted, as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// Id of the volume's previous backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Fields of newer versions, kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
    /// Where it was read from; in no stored field.
    #[serde(skip, default = "nowhere")]
    location: BackupLocation,
}

/// What the uploader says about its backup; the repository adds the rest.
#[derive(Clone, Debug)]
pub struct ManifestDraft {
    /// Where the image comes from.
    pub source: Source,
    /// When the image was taken.
    pub created_at: Timestamp,
    /// How much had to be read.
    pub tier: String,
    /// Why that much.
    pub reason: String,
    /// The finished image.
    pub image: ImageRoot,
    /// The list of mapped chunks, where one was stored.
    pub mapped: Option<MappedRoot>,
    /// What the next upload compares with.
    pub lineage: Option<Value>,
    /// Bytes read from the source.
    pub read_bytes: u64,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// How long the backup is wanted.
    pub ttl: Option<String>,
    /// Id of the volume's previous backup.
    pub previous: Option<String>,
}

impl ManifestDraft {
    /// Whether its parts go together.
    pub(crate) fn check(&self) -> Result<()> {
        let image_bytes = self.image.total_bytes();
        match self.mapped.map(|list| list.volume_bytes()) {
            Some(bytes) if bytes != image_bytes => Err(Error::InvalidInput(format!(
                "a list of the chunks of {bytes} bytes cannot go with an image of {image_bytes}"
            ))),
            _ => Ok(()),
        }
    }
}

impl Manifest {
    pub(crate) fn new(
        draft: ManifestDraft,
        location: BackupLocation,
        new_bytes: u64,
        stored_bytes: u64,
    ) -> Self {
        Self {
            version: VERSION,
            id: location.session.to_string(),
            source: draft.source,
            created_at: draft.created_at,
            mode: "block".to_owned(),
            tier: draft.tier,
            reason: draft.reason,
            total_bytes: draft.image.total_bytes(),
            block_bytes: draft.image.block_bytes(),
            image: draft.image.id(),
            mapped: draft.mapped.map(|list| list.id()),
            chunk_bytes: draft.mapped.map(|list| list.chunk_bytes()),
            lineage: draft.lineage,
            read_bytes: draft.read_bytes,
            new_bytes,
            stored_bytes,
            labels: draft.labels,
            ttl: draft.ttl,
            previous: draft.previous,
            other: Map::new(),
            location,
        }
    }

    /// Where the backup stands in the store.
    pub fn location(&self) -> BackupLocation {
        self.location
    }

    /// The image that the backup holds.
    ///
    /// # Errors
    /// `Damaged` where the sizes are outside the format's bounds.
    pub fn image_root(&self) -> Result<ImageRoot> {
        ImageRoot::new(self.image, self.total_bytes, self.block_bytes)
            .map_err(|error| Error::damaged(&self.location.outcome(), error.to_string()))
    }

    /// The list of the chunks that were mapped, where one was recorded.
    ///
    /// # Errors
    /// `Damaged` where there is an id or a chunk size alone, or the size is none of dm-thin's.
    pub fn mapped_root(&self) -> Result<Option<MappedRoot>> {
        let damaged = |reason: String| Error::damaged(&self.location.outcome(), reason);
        match (self.mapped, self.chunk_bytes) {
            (None, None) => Ok(None),
            (Some(id), Some(chunk_bytes)) => MappedRoot::new(id, chunk_bytes, self.total_bytes)
                .map(Some)
                .map_err(|error| damaged(error.to_string())),
            _ => Err(damaged("a list of mapped chunks has an id and a chunk size".to_owned())),
        }
    }

    /// Reads the document and binds it to its place.
    pub(crate) fn parse(json: &[u8], location: BackupLocation) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let key = location.outcome();
        let damaged = |error: serde_json::Error| Error::damaged(&key, error.to_string());
        let Versioned { version } = serde_json::from_slice(json).map_err(damaged)?;
        if version > VERSION {
            return Err(Error::NewerFormat {
                object: key,
                found: version.to_string(),
                supported: VERSION,
            });
        }
        let mut manifest: Self = serde_json::from_slice(json).map_err(damaged)?;
        manifest.location = location;
        if manifest.id != location.session.to_string() {
            return Err(Error::damaged(&key, "it names another backup than its key"));
        }
        manifest.image_root()?;
        manifest.mapped_root()?;
        Ok(manifest)
    }
}

fn nowhere() -> BackupLocation {
    BackupLocation {
        domain: DomainId([0; 16]),
        volume: VolumeId([0; 16]),
        session: SessionId([0; 16]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text() -> String {
        let id = hex::encode([0; 16]);
        let image = Id([7; 32]);
        format!(
            r#"{{"version":1,"id":"{id}","source":{{"host":"h","name":"vg/lv","futureSource":1}},
            "createdAt":"2026-01-31T12:00:00Z","mode":"block","tier":"full","totalBytes":1000000,
            "blockBytes":262144,"image":"{image}","mapped":"{image}","chunkBytes":196608,"readBytes":1,"newBytes":2,"storedBytes":3,
            "future":{{"a":[1]}}}}"#
        )
    }

    #[test]
    fn fields_of_newer_versions_are_kept() {
        let manifest = Manifest::parse(text().as_bytes(), nowhere()).unwrap();
        let again = serde_json::to_string(&manifest).unwrap();
        assert!(again.contains(r#""future":{"a":[1]}"#) && again.contains(r#""futureSource":1"#));
        assert!(!again.contains("location"));
        assert_eq!(Manifest::parse(again.as_bytes(), nowhere()).unwrap(), manifest);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let newer = text().replace("\"version\":1", "\"version\":2");
        let error = Manifest::parse(newer.as_bytes(), nowhere()).unwrap_err();
        assert!(matches!(error, Error::NewerFormat { .. }));
        for (from, to) in [
            ("\"blockBytes\":262144", "\"blockBytes\":3"),
            ("\"blockBytes\":262144", "\"blockBytes\":0"),
            ("\"totalBytes\":1000000", "\"totalBytes\":18446744073709551615"),
            ("0000\",\"source", "0001\",\"source"),
            ("\"image\":\"07", "\"image\":\"0x"),
            ("\"chunkBytes\":196608", "\"chunkBytes\":196609"),
            ("\"chunkBytes\":196608", "\"other\":1"),
            ("\"mapped\"", "\"other\""),
        ] {
            let changed = text().replace(from, to);
            assert_ne!(changed, text());
            let error = Manifest::parse(changed.as_bytes(), nowhere()).unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{to}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_changed_manifest_parses_or_is_refused(at in 0usize..600, byte: u8) {
            let mut bytes = text().into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Manifest::parse(&bytes, nowhere());
        }
    }
}
