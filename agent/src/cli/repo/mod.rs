//! `thinmover repo …`

mod init;
mod maintain;
mod session;
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
    /// Gives back the space of what no backup needs any more, and merges the index
    Maintain(maintain::Args),
    /// Who uploads to and reads from a repository
    #[command(subcommand)]
    Session(session::Command),
}

pub(super) fn run(command: &Command, invocation: &Invocation) -> Result<Done> {
    match command {
        Command::Init(args) => init::run(args, invocation),
        Command::Status(args) => status::run(args, invocation),
        Command::Maintain(args) => maintain::run(args, invocation),
        Command::Session(command) => session::run(command, invocation),
    }
}
