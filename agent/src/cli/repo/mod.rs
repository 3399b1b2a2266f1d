//! `thinmover repo …`

mod init;
mod status;

use super::invocation::Invocation;
use super::output::Done;
use crate::failure::Result;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Makes a repository in an empty place
    Init(init::Args),
    /// What a repository is and holds
    Status(status::Args),
}

pub(super) fn run(command: &Command, invocation: &Invocation) -> Result<Done> {
    match command {
        Command::Init(args) => init::run(args, invocation),
        Command::Status(args) => status::run(args, invocation),
    }
}
