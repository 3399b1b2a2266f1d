//! `thinmover repo session end`

use serde::Serialize;
use thinmover_repository::{OpenSession, SessionKind};

use crate::cli::confirm::confirm;
use crate::cli::invocation::{Invocation, RepositoryArgs};
use crate::cli::output::{Done, Report};
use crate::failure::{Code, Failure, Result};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Session id, or enough of its beginning
    id: String,
    #[command(flatten)]
    repository: RepositoryArgs,
    /// Do not ask: the process is dead
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct Ended {
    id: String,
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let repository = invocation.repository(&args.repository)?;
    let sessions = repository.sessions()?;
    let mut named = sessions.iter().filter(|session| session.id.starts_with(&args.id));
    let session = match (named.next(), named.next()) {
        (Some(session), None) if !args.id.is_empty() => session,
        (None, _) => {
            let message = format!("no open session has the id {}", args.id);
            return Err(Failure::new(Code::NotFound, message)
                .hint("`thinmover repo session list` shows those that are open"));
        }
        _ => {
            let message = format!("{} is ambiguous: several sessions' ids begin with it", args.id);
            return Err(Failure::new(Code::Ambiguous, message));
        }
    };
    confirm(&question(session), args.yes)?;
    repository.end_session(session)?;
    Ok(invocation.answer(&Ended { id: session.id.clone() }, &[]))
}

fn question(session: &OpenSession) -> String {
    let OpenSession { id, client, volume, .. } = session;
    match session.kind {
        SessionKind::Upload => format!(
            "this ends upload {id} of {volume} by {client}: if it is alive its backup fails, and if \
             the store does not create conditionally, its backup may lose blocks"
        ),
        SessionKind::Read => format!(
            "this ends the reading of {volume} by {client} ({id}): if it is alive and the backup is \
             deleted, it may fail"
        ),
    }
}

impl Report for Ended {
    fn human(&self) -> String {
        format!("Ended session {}\n", self.id)
    }
}
