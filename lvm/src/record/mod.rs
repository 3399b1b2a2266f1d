//! What this host has begun and would have to put back: the durable records.
//!
//! A record is written before the act it tells of and removed after the act is undone or handed
//! over, so whatever a dead process left behind has a record. [`recovery`](crate::recovery) reads
//! them. A record alone removes nothing: the volume must carry the record's nonce in its tag.
//!
//! # Grammar, version 1
//! One JSON file `STATE_DIR/records/NONCE.json` each, at most 64 KiB:
//! ```json
//! {"version":1, "nonce":"<32 hex digits>", "createdAt":"<RFC 3339>", "bootId":"<UUID>", "body":{…}}
//! ```
//! `body` has one key, the kind, over an object. `vg`, `origin`, `pool` and `volume` in it are
//! `{"name":…, "uuid":…}`; `uuid` alone is null until the volume was seen.
//! - `snapshot`: `owner` (`{"job":ID}`, `"operator"` or `{"base":{"note", "device",
//!   "deviceTransaction", "mappedChunks"}}`), `vg`, `origin`, `name`, `uuid`, `phase` (`creating`,
//!   `complete`, `deleting`), `mount` (null or `{"path", "bootId", "complete"}`).
//! - `created`, a volume made as a restore's target: `vg`, `pool`, `name`, `uuid`, `finished`.
//! - `activated`, a volume that was inactive: `vg`, `volume`.
//! - `metadataSnapshot`, one that a pool was asked for: `vg`, `pool`, `taken` (null, or `{"block",
//!   "checksum"}` of its superblock once that was seen).
//! - `restoring`, a volume that was there before and is being overwritten: `vg`, `volume`, `job`.
//!
//! The volumes of the first two carry the LVM tag `thinmover.owner=NONCE` from the command that
//! makes them on, that of the last one `thinmover.restoring=JOB` until all of it is written. Examples of all are in `fixtures/records/v1.jsonl`, which a test reads.
//!
//! Unknown fields make a record unreadable: one too many is a reason to leave it alone. A reader
//! that meets a larger `version`, or a file it cannot read, leaves the file and whatever it is
//! about as they are and says so. `NONCE.lock` beside it is locked while the process lives
//! ([`store`]).

mod store;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

use crate::inventory::Volume;
use crate::names::{LvName, LvmUuid, Tag, VgName, dm_pool_uuid};
pub(crate) use store::{HeldRecord, RecordStore};
pub use store::{RecordError, RecordProblem};

/// The version this code writes; it reads no other.
pub(crate) const VERSION: u32 = 1;

/// The random number that ties a record to the volumes made under it: 32 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nonce(String);

impl Nonce {
    /// Checks its form; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == 32 && text.bytes().all(digit)).then(|| Self(text.to_owned()))
    }

    /// A new one from the kernel's random numbers.
    pub fn random() -> std::io::Result<Self> {
        use std::io::Read;
        let mut bytes = [0; 16];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(hex::encode(bytes)))
    }

    /// The hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag that volumes made under this record carry.
    pub(crate) fn tag(&self) -> Result<Tag, crate::names::NameError> {
        Tag::new(format!("thinmover.owner={}", self.0))
    }
}

impl TryFrom<String> for Nonce {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a nonce is 32 lower-case hex digits")
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> Self {
        nonce.0
    }
}

impl std::fmt::Display for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) nonce: Nonce,
    pub(crate) created_at: Timestamp,
    /// Of the boot in which it was made: `/proc/sys/kernel/random/boot_id`.
    pub(crate) boot_id: String,
    pub(crate) body: Body,
}

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Body {
    Snapshot(SnapshotBody),
    Created(CreatedBody),
    Activated(ActivatedBody),
    MetadataSnapshot(MetadataSnapshotBody),
    Restoring(RestoringBody),
}

/// A volume or group by both its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named<T> {
    pub(crate) name: T,
    pub(crate) uuid: LvmUuid,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SnapshotBody {
    pub(crate) owner: Owner,
    pub(crate) vg: Named<VgName>,
    pub(crate) origin: Named<LvName>,
    pub(crate) name: LvName,
    /// Unknown until the snapshot was seen.
    pub(crate) uuid: Option<LvmUuid>,
    pub(crate) phase: SnapshotPhase,
    pub(crate) mount: Option<MountBody>,
}

/// Whose a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Owner {
    /// A job's; it goes when the job's process goes.
    Job(String),
    /// An operator's; once complete it stays until it is deleted.
    Operator,
    /// The origin's: it is the base of the next backup, and stays while the origin's tag says so.
    Base(KeptBody),
}

/// What a kept base is known by, besides its UUID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeptBody {
    /// What the backup is known under that was made of it: the origin's tag has the same number.
    pub(crate) note: Nonce,
    /// Its device's number in the pool.
    pub(crate) device: u32,
    /// LVM's transaction number when that device was made.
    pub(crate) device_transaction: u64,
    /// How many chunks it had mapped when it was read.
    pub(crate) mapped_chunks: u64,
}

/// How far a snapshot has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum SnapshotPhase {
    Creating,
    Complete,
    /// It is being deleted: recovery goes on with that.
    Deleting,
}

/// A snapshot's mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MountBody {
    pub(crate) path: PathBuf,
    pub(crate) boot_id: String,
    /// False while it is being made or undone: recovery then undoes it.
    pub(crate) complete: bool,
}

/// A volume made as the target of a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CreatedBody {
    pub(crate) vg: Named<VgName>,
    pub(crate) pool: Named<LvName>,
    pub(crate) name: LvName,
    pub(crate) uuid: Option<LvmUuid>,
    /// The restore is done: the volume stays, its tag goes.
    pub(crate) finished: bool,
}

/// A volume that was inactive and was activated to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ActivatedBody {
    pub(crate) vg: Named<VgName>,
    pub(crate) volume: Named<LvName>,
}

/// A volume that was there and is being overwritten by a restore. Its tag outlives the job that does
/// not finish; what was overwritten cannot be put back, so the mark is what recovery leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RestoringBody {
    pub(crate) vg: Named<VgName>,
    pub(crate) volume: Named<LvName>,
    /// The job's id.
    pub(crate) job: String,
}

/// The metadata snapshot of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MetadataSnapshotBody {
    pub(crate) vg: Named<VgName>,
    pub(crate) pool: Named<LvName>,
    /// Unknown until it was seen.
    pub(crate) taken: Option<HeldSuperblock>,
}

/// What tells a metadata snapshot from another: where its superblock is, and that block's checksum.
/// The superblock holds the roots of all trees, so it differs with everything in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HeldSuperblock {
    pub(crate) block: u64,
    pub(crate) checksum: u32,
}

impl MetadataSnapshotBody {
    /// Of the pool that `volume` is in, nothing taken yet; `None` for a volume that is not thin.
    pub(crate) fn of_pool(volume: &Volume) -> Option<Self> {
        let (name, uuid) = (volume.pool.clone()?, volume.pool_uuid.clone()?);
        Some(Self {
            vg: Named { name: volume.vg.clone(), uuid: volume.vg_uuid.clone() },
            pool: Named { name, uuid },
            taken: None,
        })
    }

    /// `VG/LV` of the pool.
    pub(crate) fn alias(&self) -> String {
        format!("{}/{}", self.vg.name, self.pool.name)
    }

    /// The device-mapper UUID of the pool.
    pub(crate) fn dm_uuid(&self) -> String {
        dm_pool_uuid(&self.vg.uuid, &self.pool.uuid)
    }
}
