//! `/v1/jobs?watch=1&since=V`: the feed of jobs.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::Shared;
use super::request::Request;
use crate::access::Right;
use crate::failure::Result;
use crate::http::Answer;
use crate::jobs::{Change, Table};
use crate::views::JobEvent;

/// Lines that may wait for a slow reader; after that the reader gets the newest state of each job,
/// not every state in between.
const LINES_WAITING: usize = 16;

/// Begins a feed of what is newer than `since`, or of everything from now on. With `id` it tells of
/// one job only.
pub(super) fn feed(shared: &Arc<Shared>, request: &Request) -> Result<Answer> {
    request.caller.require(Right::Read, "watching jobs")?;
    let id = request.query("id").map(str::to_owned);
    let since = match request.number("since")? {
        Some(since) => since,
        None => shared.table.list().1,
    };
    // A past that is forgotten is an error now, not a feed that ends.
    shared.table.changes(since)?;
    let (lines, feed) = mpsc::channel(LINES_WAITING);
    let table = Arc::clone(&shared.table);
    tokio::spawn(async move { send(&table, since, id.as_deref(), &lines).await });
    Ok(Answer::Feed(feed))
}

/// Ends when nobody reads any more, or the reader fell so far behind that it must list again.
async fn send(table: &Table, mut since: u64, id: Option<&str>, lines: &mpsc::Sender<Bytes>) {
    let mut newest = table.subscribe();
    loop {
        newest.mark_unchanged();
        let Ok((changes, version)) = table.changes(since) else { return };
        since = version;
        for change in changes {
            if id.is_none_or(|id| id == change.job.id) && lines.send(line(change)).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = newest.changed() => if changed.is_err() { return },
            () = lines.closed() => return,
        }
    }
}

fn line(change: Change) -> Bytes {
    let mut line = serde_json::to_vec(&JobEvent::from(change)).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
