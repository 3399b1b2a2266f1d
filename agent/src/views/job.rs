//! Jobs, flat: what lists and the feed show.

use serde::{Deserialize, Serialize};

use crate::jobs::{Change, ChangeType, Kind, Status};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Jobs {
    pub(crate) jobs: Vec<Job>,
    /// From where to watch on.
    #[serde(default)]
    pub(crate) resource_version: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    /// What it reads, or writes to.
    pub(crate) volume: String,
    #[serde(flatten)]
    pub(crate) status: Status,
    pub(crate) resource_version: u64,
}

/// A line of the feed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobEvent {
    #[serde(rename = "type")]
    pub(crate) change: ChangeType,
    pub(crate) resource_version: u64,
    pub(crate) job: Job,
}

impl From<Change> for Job {
    fn from(change: Change) -> Self {
        Self {
            volume: change.job.subject().to_owned(),
            id: change.job.id,
            kind: change.job.kind,
            status: change.job.status,
            resource_version: change.resource_version,
        }
    }
}

impl From<Change> for JobEvent {
    fn from(change: Change) -> Self {
        let resource_version = change.resource_version;
        Self { change: change.change, resource_version, job: change.into() }
    }
}
