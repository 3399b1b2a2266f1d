//! What a user of the built binary sees, on image files: no LVM is needed for these.

#![allow(clippy::unwrap_used, clippy::panic)] // In the helpers of tests as in tests themselves.

mod agent;
mod damage;
mod fixture;
mod maintaining;
mod memory;
mod pruning;
mod refusals;
mod repositories;
mod restoring;
mod thin;
mod uploads;
mod usage;
