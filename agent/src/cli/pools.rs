//! `thinmover pools`

use serde::Serialize;
use thinmover_lvm::Percent;

use super::invocation::Invocation;
use super::output::{Done, Report, percent, size, table};
use crate::failure::Result;

#[derive(Debug, clap::Args)]
pub(super) struct Args {}

#[derive(Serialize)]
struct Pools {
    pools: Vec<Pool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pool {
    name: String,
    uuid: String,
    size_bytes: u64,
    /// Nothing while the pool is not active.
    data_percent: Option<f64>,
    metadata_percent: Option<f64>,
    chunk_bytes: u64,
    health: &'static str,
}

pub(super) fn run(_: &Args, invocation: &Invocation) -> Result<Done> {
    let inventory = invocation.engine()?.inventory()?;
    let pools = inventory
        .pools
        .iter()
        .map(|pool| Pool {
            name: pool.alias(),
            uuid: pool.uuid.to_string(),
            size_bytes: pool.size.0,
            data_percent: pool.data_percent.map(Percent::as_f64),
            metadata_percent: pool.metadata_percent.map(Percent::as_f64),
            chunk_bytes: pool.chunk_bytes.0,
            health: pool.health.as_str(),
        })
        .collect();
    Ok(invocation.answer(&Pools { pools }, &[]))
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
                    pool.health.to_owned(),
                ]
            })
            .collect();
        table(["POOL", "SIZE", "DATA", "METADATA", "CHUNK", "HEALTH"], &[1, 2, 3, 4], &rows)
    }
}
