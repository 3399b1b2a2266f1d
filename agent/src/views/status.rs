//! How the agent is.

use serde::{Deserialize, Serialize};

use thinmover_io::IoEngine;

use crate::config::Settings;

/// The answer of `/v1/health`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Health {
    /// Whether every check is.
    pub(crate) ok: bool,
    pub(crate) version: String,
    /// How data is read and written.
    pub(crate) engine: String,
    /// Why this engine.
    pub(crate) engine_reason: String,
    /// What runs, in one line.
    pub(crate) message: String,
    pub(crate) checks: Vec<Check>,
    pub(crate) repositories: Vec<RepositoryName>,
}

/// Something that is as it should be, or is not.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) ok: bool,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

/// A configured repository.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RepositoryName {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) default: bool,
}

impl Health {
    /// Without jobs: what holds of this build and these settings.
    pub(crate) fn new(
        settings: &Settings,
        io: &IoEngine,
        message: String,
        checks: Vec<Check>,
    ) -> Self {
        let repositories = settings.repositories.iter().map(|(name, repository)| RepositoryName {
            name: name.clone(),
            url: repository.url.clone(),
            default: settings.default_repository.as_ref() == Some(name),
        });
        let (engine, engine_reason) = io.describe();
        Self {
            ok: checks.iter().all(|check| check.ok),
            version: env!("CARGO_PKG_VERSION").into(),
            engine: engine.to_string(),
            engine_reason,
            message,
            checks,
            repositories: repositories.collect(),
        }
    }
}
