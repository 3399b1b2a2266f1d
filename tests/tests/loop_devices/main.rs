//! Tests on real thin pools on loop devices, one module per area.
//!
//! A module has `pub(crate) fn trials() -> Vec<Trial>`; add it to the list below. Each trial makes its
//! own pool and leaves nothing behind. Trials that need the build with crash points carry the kind
//! `thinmover_tests::loop_devices::KILLS`.
//!
//! `cargo test -p thinmover-tests --test loop_devices FILTER` runs some of them.

mod agent;
mod agent_errors;
mod agent_kills;
mod agent_snapshots;
mod allocated;
mod crash;
mod engines;
mod fixtures;
mod incremental;
mod job;
mod job_kills;
mod job_refusals;
mod keep_base;
mod large;
mod lvm_guards;
mod lvm_kills;
mod main_job;
mod model;
mod pool_metadata;
mod pool_shapes;
mod restore_in_place;
mod sandbox;
mod service;
mod thin_metadata;
mod udev;

use std::process::ExitCode;

fn main() -> ExitCode {
    thinmover_tests::loop_devices::run(
        [
            fixtures::trials(),
            main_job::trials(),
            allocated::trials(),
            incremental::trials(),
            keep_base::trials(),
            model::trials(),
            pool_metadata::trials(),
            restore_in_place::trials(),
            large::trials(),
            pool_shapes::trials(),
            job_refusals::trials(),
            lvm_guards::trials(),
            lvm_kills::trials(),
            job_kills::trials(),
            engines::trials(),
            sandbox::trials(),
            agent::trials(),
            agent_kills::trials(),
            udev::trials(),
            agent_errors::trials(),
            agent_snapshots::trials(),
            thin_metadata::trials(),
        ]
        .into_iter()
        .flatten()
        .collect(),
    )
}
