//! `thinmover agent`

use super::invocation::GlobalArgs;
use super::output::Done;
use crate::engine::Engine;
use crate::failure::{Code, Failure, Result};
use crate::{config, daemon, jobs, journal};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Check the configuration and end
    #[arg(long)]
    check_config: bool,
    /// Put back what processes that died left on this host, and end
    #[arg(long, conflicts_with = "check_config")]
    recover: bool,
}

pub(super) fn run(args: &Args, global: &GlobalArgs) -> Result<Done> {
    if global.standalone {
        return Err(Failure::new(Code::Usage, "--standalone means without the agent"));
    }
    journal::init();
    let config = global.config.as_deref();
    // What is left to tell goes to the journal; systemd would take exit status 5 for a failure.
    if args.check_config {
        config::load(config)?.warnings.iter().for_each(journal::warn);
    } else if args.recover {
        jobs::recover(&Engine::new(&config::load(config)?)?);
    } else {
        daemon::run(config)?;
    }
    Ok(Done::Clean)
}
