//! `thinmover volumes`

use super::invocation::Invocation;
use super::output::{Done, Report, size, table};
use crate::failure::Result;
use crate::views::Volumes;

#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, invocation: &Invocation) -> Result<Done> {
    Ok(invocation.answer(&invocation.service()?.volumes()?, &[]))
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
        let mut text =
            table(["VOLUME", "SIZE", "POOL", "ORIGIN", "MOUNTED", "LAST BACKUP"], &[1], &rows);
        for volume in &self.volumes {
            if let Some(job) = &volume.restoring {
                text += &format!(
                    "{} is half restored by job {job}: restore to it again\n",
                    volume.name
                );
            }
        }
        text
    }
}
