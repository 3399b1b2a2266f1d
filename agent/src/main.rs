//! thinmover moves LVM thin volumes off an edge host and back.
//!
//! `cli/` is what a user types and sees, `jobs/` is what an upload or a download does step by step,
//! `stream/` is the data path under a job, `config/` the settings. LVM and the stored format are
//! crates of their own.

mod cli;
mod config;
mod failure;
mod host;
mod jobs;
mod stream;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
