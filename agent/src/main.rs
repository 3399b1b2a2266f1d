//! thinmover moves LVM thin volumes off an edge host and back.
//!
//! `cli/` is what a user types and sees, `daemon/` the process that systemd runs, `api/` what it
//! answers over its socket (`http/`), `jobs/` what it was asked to do. `engine/` does an upload or a
//! download step by step, `stream/` is the data path under it. LVM and the stored format are crates
//! of their own.

mod access;
mod api;
mod benchmark;
mod cli;
mod config;
mod daemon;
mod durable;
mod engine;
mod failure;
mod host;
mod http;
mod jobs;
mod journal;
mod passphrase;
mod repositories;
mod retention;
mod sandbox;
mod snapshots;
mod stream;
mod views;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
