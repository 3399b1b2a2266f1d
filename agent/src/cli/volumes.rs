//! `thinmover volumes`

use serde::Serialize;

use super::invocation::Invocation;
use super::output::{Done, Report, size, table};
use crate::failure::Result;

#[derive(Debug, clap::Args)]
pub(super) struct Args {}

#[derive(Serialize)]
struct Volumes {
    volumes: Vec<Volume>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    name: String,
    uuid: String,
    pool: Option<String>,
    size_bytes: u64,
    origin: Option<String>,
    mounted: bool,
    /// The id of the last backup this host made of it.
    last_backup: Option<String>,
}

pub(super) fn run(_: &Args, invocation: &Invocation) -> Result<Done> {
    let engine = invocation.engine()?;
    let volumes = engine
        .inventory()?
        .volumes
        .iter()
        .map(|volume| Volume {
            name: volume.alias(),
            uuid: volume.uuid.to_string(),
            pool: volume.pool.as_ref().map(ToString::to_string),
            size_bytes: volume.size.0,
            origin: volume.origin.as_ref().map(ToString::to_string),
            mounted: !volume.mounts.is_empty(),
            last_backup: engine.last_backup(volume.uuid.as_str()),
        })
        .collect();
    Ok(invocation.answer(&Volumes { volumes }, &[]))
}

impl Report for Volumes {
    fn human(&self) -> String {
        if self.volumes.is_empty() {
            return "No logical volumes on this host.\n".into();
        }
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        let rows: Vec<_> = self
            .volumes
            .iter()
            .map(|volume| {
                [
                    volume.name.clone(),
                    size(volume.size_bytes),
                    or_dash(&volume.pool),
                    or_dash(&volume.origin),
                    if volume.mounted { "yes" } else { "no" }.to_owned(),
                    or_dash(&volume.last_backup),
                ]
            })
            .collect();
        table(["VOLUME", "SIZE", "POOL", "ORIGIN", "MOUNTED", "LAST BACKUP"], &[1], &rows)
    }
}
