//! `thinmover job show`

use super::list::progress;
use crate::cli::follow::path;
use crate::cli::invocation::Invocation;
use crate::cli::output::{Done, Report, time};
use crate::cli::service::get;
use crate::failure::Result;
use crate::http::Client;
use crate::views::Job;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Job id
    id: String,
}

pub(super) fn run(args: &Args, agent: &Client, invocation: &Invocation) -> Result<Done> {
    Ok(invocation.answer(&get::<Job>(agent, &path(&args.id))?, &[]))
}

impl Report for Job {
    fn human(&self) -> String {
        let status = &self.status;
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let mut lines = vec![
            ("job", self.id.clone()),
            ("kind", self.kind.as_str().into()),
            ("volume", self.volume.clone()),
            ("phase", status.phase.as_str().into()),
            ("message", status.message.clone()),
            ("reason", or_dash(status.reason.clone())),
            ("done", progress(self)),
            ("backup", or_dash(status.snapshot_id.clone())),
            ("tier", or_dash(status.tier.clone())),
            ("created", time(status.created_timestamp)),
            ("started", or_dash(status.start_timestamp.map(time))),
            ("ended", or_dash(status.completion_timestamp.map(time))),
            ("node", status.node.clone()),
        ];
        let hint = status.error.as_ref().and_then(|failure| failure.hint.clone());
        lines.extend(hint.map(|hint| ("hint", hint)));
        lines.iter().map(|(name, value)| format!("{name:<8} {value}\n")).collect()
    }
}
