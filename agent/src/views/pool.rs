//! Thin pools.

use serde::{Deserialize, Serialize};
use thinmover_lvm::{Inventory, Percent};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pools {
    pub(crate) pools: Vec<Pool>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pool {
    /// `VG/LV`.
    pub(crate) name: String,
    pub(crate) uuid: String,
    pub(crate) size_bytes: u64,
    /// Nothing while the pool is not active.
    pub(crate) data_percent: Option<f64>,
    pub(crate) metadata_percent: Option<f64>,
    pub(crate) chunk_bytes: u64,
    pub(crate) health: String,
}

impl Pools {
    pub(crate) fn new(inventory: &Inventory) -> Self {
        let pools = inventory.pools.iter().map(|pool| Pool {
            name: pool.alias(),
            uuid: pool.uuid.to_string(),
            size_bytes: pool.size.0,
            data_percent: pool.data_percent.map(Percent::as_f64),
            metadata_percent: pool.metadata_percent.map(Percent::as_f64),
            chunk_bytes: pool.chunk_bytes.0,
            health: pool.health.as_str().to_owned(),
        });
        Self { pools: pools.collect() }
    }
}
