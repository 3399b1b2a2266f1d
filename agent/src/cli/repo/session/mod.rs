//! `thinmover repo session …`

mod end;
mod list;

use crate::cli::invocation::Invocation;
use crate::cli::output::Done;
use crate::failure::Result;

#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Command {
    /// Lists the uploads and restores that have not ended, or whose process died
    List(list::Args),
    /// Ends one whose process is dead, so that maintenance need not wait for it
    End(end::Args),
}

pub(super) fn run(command: &Command, invocation: &Invocation) -> Result<Done> {
    match command {
        Command::List(args) => list::run(args, invocation),
        Command::End(args) => end::run(args, invocation),
    }
}
