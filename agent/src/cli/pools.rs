//! `thinmover pools`

use super::invocation::Invocation;
use super::output::{Done, Report, percent, size, table};
use crate::failure::Result;
use crate::views::Pools;

#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, invocation: &Invocation) -> Result<Done> {
    Ok(invocation.answer(&invocation.service()?.pools()?, &[]))
}

impl Report for Pools {
    fn human(&self) -> String {
        if self.pools.is_empty() {
            return "No thin pools on this host.\n".into();
        }
        let rows: Vec<_> = self
            .pools
            .iter()
            .map(|pool| {
                [
                    pool.name.clone(),
                    size(pool.size_bytes),
                    percent(pool.data_percent),
                    percent(pool.metadata_percent),
                    size(pool.chunk_bytes),
                    pool.health.clone(),
                ]
            })
            .collect();
        table(["POOL", "SIZE", "DATA", "METADATA", "CHUNK", "HEALTH"], &[1, 2, 3, 4], &rows)
    }
}
