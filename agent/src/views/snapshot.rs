//! Thin snapshots that thinmover made.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thinmover_lvm::{OwnedSnapshot, Owner};

use crate::engine::Engine;
use crate::failure::Result;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Snapshots {
    pub(crate) snapshots: Vec<Snapshot>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Snapshot {
    /// `VG/LV`.
    pub(crate) name: String,
    pub(crate) uuid: String,
    /// `VG/LV`.
    pub(crate) origin: String,
    pub(crate) size_bytes: u64,
    pub(crate) created_at: Timestamp,
    /// Where it is mounted.
    pub(crate) mounted_at: Option<String>,
    /// The job it was made for, `operator`, or `base`: it stays for its origin's next backup.
    pub(crate) owner: String,
}

impl Snapshots {
    /// # Errors
    /// When LVM or the records cannot be read.
    pub(crate) fn read(engine: &Engine) -> Result<Self> {
        Ok(Self { snapshots: engine.snapshots()?.iter().map(Snapshot::new).collect() })
    }
}

impl Snapshot {
    pub(crate) fn new(snapshot: &OwnedSnapshot) -> Self {
        Self {
            name: format!("{}/{}", snapshot.vg, snapshot.name),
            uuid: snapshot.uuid.to_string(),
            origin: format!("{}/{}", snapshot.vg, snapshot.origin),
            size_bytes: snapshot.size.0,
            created_at: snapshot.created_at,
            mounted_at: snapshot.mounted_at.as_ref().map(|path| path.display().to_string()),
            owner: match &snapshot.owner {
                Owner::Operator => "operator".to_owned(),
                Owner::Base(_) => "base".to_owned(),
                Owner::Job(id) => format!("job {id}"),
            },
        }
    }
}
