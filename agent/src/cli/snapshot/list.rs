//! `thinmover snapshot list`

use jiff::Timestamp;
use serde::Serialize;
use thinmover_lvm::{OwnedSnapshot, Owner};

use crate::cli::invocation::Invocation;
use crate::cli::output::{Done, Report, size, table, time};
use crate::failure::Result;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {}

#[derive(Serialize)]
struct Snapshots {
    snapshots: Vec<Snapshot>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Snapshot {
    pub(super) name: String,
    uuid: String,
    pub(super) origin: String,
    pub(super) size_bytes: u64,
    created_at: Timestamp,
    /// Where it is mounted.
    mounted_at: Option<String>,
    /// The job it was made for, or `operator`.
    owner: String,
}

impl Snapshot {
    pub(super) fn new(snapshot: &OwnedSnapshot) -> Self {
        Self {
            name: format!("{}/{}", snapshot.vg, snapshot.name),
            uuid: snapshot.uuid.to_string(),
            origin: format!("{}/{}", snapshot.vg, snapshot.origin),
            size_bytes: snapshot.size.0,
            created_at: snapshot.created_at,
            mounted_at: snapshot.mounted_at.as_ref().map(|path| path.display().to_string()),
            owner: match &snapshot.owner {
                Owner::Operator => "operator".to_owned(),
                Owner::Job(id) => format!("job {id}"),
            },
        }
    }
}

pub(super) fn run(_: &Args, invocation: &Invocation) -> Result<Done> {
    let snapshots = invocation.engine()?.snapshots()?;
    let snapshots = snapshots.iter().map(Snapshot::new).collect();
    Ok(invocation.answer(&Snapshots { snapshots }, &[]))
}

impl Report for Snapshots {
    fn human(&self) -> String {
        if self.snapshots.is_empty() {
            return "No snapshots of thinmover's.\n".into();
        }
        let rows: Vec<_> = self
            .snapshots
            .iter()
            .map(|snapshot| {
                [
                    snapshot.name.clone(),
                    snapshot.origin.clone(),
                    size(snapshot.size_bytes),
                    time(snapshot.created_at),
                    snapshot.mounted_at.clone().unwrap_or_else(|| "-".into()),
                    snapshot.owner.clone(),
                ]
            })
            .collect();
        table(["SNAPSHOT", "ORIGIN", "SIZE", "CREATED", "MOUNTED ON", "OWNER"], &[2], &rows)
    }
}
