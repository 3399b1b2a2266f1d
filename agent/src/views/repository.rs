//! A repository.

use serde::{Deserialize, Serialize};
use thinmover_repository::Repository;

use crate::failure::Result;

/// What a repository is and holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RepositoryStatus {
    pub(crate) url: String,
    pub(crate) id: String,
    pub(crate) format_version: u32,
    pub(crate) hash: String,
    pub(crate) encryption: String,
    pub(crate) splitter: String,
    pub(crate) compression: String,
    pub(crate) conditional_writes: bool,
    pub(crate) backups: u64,
    pub(crate) stored_bytes: u64,
}

impl RepositoryStatus {
    pub(crate) fn new(repository: &Repository) -> Result<Self> {
        let descriptor = repository.descriptor();
        let status = repository.status()?;
        Ok(Self {
            url: repository.url(),
            id: descriptor.id_text(),
            format_version: descriptor.format_version,
            hash: descriptor.hash.to_string(),
            encryption: descriptor.encryption.to_string(),
            splitter: "fixed".into(),
            compression: descriptor.compression.to_string(),
            conditional_writes: status.conditional_writes,
            backups: status.backups,
            stored_bytes: status.stored_bytes,
        })
    }
}
