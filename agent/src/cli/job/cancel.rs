//! `thinmover job cancel`

use hyper::Method;
use serde_json::json;

use crate::cli::follow::path;
use crate::cli::invocation::Invocation;
use crate::cli::output::Done;
use crate::cli::service::{encode, get};
use crate::failure::Result;
use crate::http::Client;
use crate::views::Job;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Job id
    id: String,
}

/// Returns at once; the job's phase says when everything is put back.
pub(super) fn run(args: &Args, agent: &Client, invocation: &Invocation) -> Result<Done> {
    let job: Job = get(agent, &path(&args.id))?;
    let resource = format!("/v1/{}s/{}", job.kind.as_str(), encode(&job.id));
    agent.call(Method::PATCH, &resource, Some(&json!({ "cancel": true })))?;
    Ok(invocation.answer(&get::<Job>(agent, &path(&args.id))?, &[]))
}
