//! The agent's jobs: what was asked for, how far it is, how it ended; on record before anything
//! acts, so that an agent that was killed knows at its next start what it had begun.
//!
//! [`Table`] holds them, durable and in memory, and tells what changed since when. [`Runner`] runs
//! them one after the other on threads of their own, by the engine. What a job asks for comes as
//! the `spec` of a custom resource ([`spec`]); fields nobody here knows are kept.

mod job;
mod recovery;
mod run;
mod runner;
pub(crate) mod spec;
mod state;
mod store;
mod table;
#[cfg(test)]
mod table_tests;

pub(crate) use job::{Job, Kind, Phase, Progress, Status};
pub(crate) use recovery::{made_by_a_newer_version, recover};
pub(crate) use runner::{RunnerHandle, start};
pub(crate) use state::{Change, ChangeType};
pub(crate) use table::{NewJob, Submitted, Table};
