//! What a user of the built binary sees, on image files: no LVM is needed for these.

#![allow(clippy::unwrap_used, clippy::panic)] // In the helpers of tests as in tests themselves.

mod agent;
mod buckets;
mod damage;
mod deletion_policy;
mod fixture;
mod holds;
#[allow(dead_code, reason = "the tests of the store use all of it")]
#[path = "../../../repository/tests/repository/support/lossy.rs"]
mod lossy;
mod maintaining;
mod memory;
mod pruning;
mod refusals;
mod repositories;
mod restoring;
#[allow(dead_code, reason = "the tests of the store use all of it")]
#[path = "../../../repository/tests/repository/support/server.rs"]
mod server;
mod thin;
mod uploads;
mod usage;
