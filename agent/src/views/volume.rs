//! Logical volumes.

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::failure::Result;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Volumes {
    pub(crate) volumes: Vec<Volume>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Volume {
    /// `VG/LV`.
    pub(crate) name: String,
    pub(crate) uuid: String,
    pub(crate) pool: Option<String>,
    pub(crate) size_bytes: u64,
    pub(crate) origin: Option<String>,
    pub(crate) mounted: bool,
    /// The id of the last backup this host made of it.
    pub(crate) last_backup: Option<String>,
    /// The job that began to overwrite it and did not finish.
    #[serde(default)]
    pub(crate) restoring: Option<String>,
}

impl Volumes {
    /// # Errors
    /// When LVM cannot be run or understood.
    pub(crate) fn read(engine: &Engine) -> Result<Self> {
        let inventory = engine.inventory()?;
        let volumes = inventory.volumes.iter().map(|volume| Volume {
            name: volume.alias(),
            uuid: volume.uuid.to_string(),
            pool: volume.pool.as_ref().map(ToString::to_string),
            size_bytes: volume.size.0,
            origin: volume.origin.as_ref().map(ToString::to_string),
            mounted: !volume.mounts.is_empty(),
            last_backup: engine.last_backup(volume.uuid.as_str()),
            restoring: volume.restoring().map(str::to_owned),
        });
        Ok(Self { volumes: volumes.collect() })
    }
}
