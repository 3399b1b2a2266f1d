//! `thinmover job …`

mod cancel;
mod list;
mod show;
mod watch;

use super::invocation::Invocation;
use super::output::Done;
use crate::failure::{Code, Failure, Result};
use crate::http::Client;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Lists the agent's jobs
    List(list::Args),
    /// Shows all about one job
    Show(show::Args),
    /// Follows a job to its end
    Watch(watch::Args),
    /// Asks a job to end; what it made is put back
    Cancel(cancel::Args),
}

pub(super) fn run(command: &Command, invocation: &Invocation) -> Result<Done> {
    if invocation.standalone {
        return Err(Failure::new(
            Code::Usage,
            "jobs are kept by the agent; there are none with --standalone",
        ));
    }
    let agent: Client = invocation.agent();
    match command {
        Command::List(_) => list::run(&agent, invocation),
        Command::Show(args) => show::run(args, &agent, invocation),
        Command::Watch(args) => watch::run(args, &agent, invocation),
        Command::Cancel(args) => cancel::run(args, &agent, invocation),
    }
}
