//! `thinmover status`

use std::fmt::Write as _;

use serde::Serialize;

use super::invocation::Invocation;
use super::output::{Done, Report};
use super::service::get;
use crate::engine::io_engine;
use crate::failure::Result;
use crate::views::{Health, Job, Jobs};

#[derive(Debug, clap::Args)]
pub(super) struct Args {}

#[derive(Serialize)]
struct Status {
    #[serde(flatten)]
    health: Health,
    /// Those that have not ended.
    jobs: Vec<Job>,
}

pub(super) fn run(_: &Args, invocation: &Invocation) -> Result<Done> {
    let status = if invocation.standalone {
        let message = "standalone: no agent was asked".to_owned();
        let (settings, io) = (&invocation.settings, io_engine(&invocation.settings)?);
        Status { health: Health::new(settings, &io, message, Vec::new()), jobs: Vec::new() }
    } else {
        let agent = invocation.agent();
        let health = get(&agent, "/v1/health")?;
        let mut jobs = get::<Jobs>(&agent, "/v1/jobs")?.jobs;
        jobs.retain(|job| !job.status.phase.is_final());
        Status { health, jobs }
    };
    let failed = status.health.checks.iter().filter(|check| !check.ok);
    let warnings: Vec<_> =
        failed.map(|check| format!("{}: {}", check.name, check.message)).collect();
    Ok(invocation.answer(&status, &warnings))
}

impl Report for Status {
    fn human(&self) -> String {
        let health = &self.health;
        let mut text = format!("thinmover {}: {}\n", health.version, health.message);
        let _ = writeln!(text, "engine     {} ({})", health.engine, health.engine_reason);
        for repository in &health.repositories {
            let default = if repository.default { " (default)" } else { "" };
            let _ = writeln!(text, "repository {} at {}{default}", repository.name, repository.url);
        }
        if !self.jobs.is_empty() {
            text.push('\n');
            text.push_str(&Jobs { jobs: self.jobs.clone(), resource_version: 0 }.human());
        }
        text
    }
}
