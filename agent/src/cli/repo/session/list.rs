//! `thinmover repo session list`

use jiff::Timestamp;
use serde::Serialize;
use thinmover_repository::{OpenSession, SessionKind};

use crate::cli::invocation::{Invocation, RepositoryArgs};
use crate::cli::output::{Done, Report, table, time};
use crate::failure::Result;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    repository: RepositoryArgs,
}

#[derive(Serialize)]
struct Sessions {
    sessions: Vec<Session>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Session {
    id: String,
    /// `upload` or `read`.
    kind: &'static str,
    host: String,
    volume: String,
    started_at: Option<Timestamp>,
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let sessions = invocation.repository(&args.repository)?.sessions()?;
    let sessions = sessions.into_iter().map(Session::from).collect();
    Ok(invocation.answer(&Sessions { sessions }, &[]))
}

impl From<OpenSession> for Session {
    fn from(session: OpenSession) -> Self {
        let OpenSession { id, client: host, volume, started_at, .. } = session;
        let kind = match session.kind {
            SessionKind::Upload => "upload",
            SessionKind::Read => "read",
        };
        Self { id, kind, host, volume, started_at }
    }
}

impl Report for Sessions {
    fn human(&self) -> String {
        if self.sessions.is_empty() {
            return "Nobody uploads to or reads from this repository\n".to_owned();
        }
        let rows: Vec<_> = self
            .sessions
            .iter()
            .map(|session| {
                let since = session.started_at.map_or_else(|| "-".to_owned(), time);
                let text = |text: &str| if text.is_empty() { "-".to_owned() } else { text.into() };
                [
                    session.id.clone(),
                    session.kind.to_owned(),
                    text(&session.host),
                    text(&session.volume),
                    since,
                ]
            })
            .collect();
        table(["ID", "DOES", "HOST", "VOLUME", "SINCE"], &[], &rows)
    }
}
