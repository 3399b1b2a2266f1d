//! An answer that goes on.

use std::path::PathBuf;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::lines::{Lines, TooLong};
use super::{lost, not_json};
use crate::failure::{Code, Failure, Result};

/// The most bytes of one line of a feed.
const LINE_BYTES: usize = 1024 * 1024;

/// The documents of a feed, as they come. `next` blocks until there is one.
///
/// `None` says that the agent ended the feed, which it also does when it stops. After an error the
/// feed has ended; with code `NoDaemon` the agent went away, and a caller may ask again.
pub(crate) struct Feed {
    body: Incoming,
    lines: Lines,
    ended: bool,
    socket: PathBuf,
    runtime: Runtime,
}

impl Feed {
    pub(super) fn new(runtime: Runtime, body: Incoming, socket: PathBuf) -> Self {
        Self { body, lines: Lines::new(LINE_BYTES), ended: false, socket, runtime }
    }

    /// The next document, `None` at the feed's end.
    fn step(&mut self) -> Result<Option<Value>> {
        loop {
            match self.lines.next() {
                // An empty line only says that the agent is there.
                Ok(Some(line)) if line.trim_ascii().is_empty() => continue,
                Ok(Some(line)) => {
                    return serde_json::from_slice(line)
                        .map(Some)
                        .map_err(|error| not_json(&self.socket, &error));
                }
                Ok(None) => {}
                Err(TooLong) => {
                    let message = format!("a line of the feed is longer than {LINE_BYTES} bytes");
                    return Err(Failure::new(Code::Failed, message));
                }
            }
            match self.runtime.block_on(self.body.frame()) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.lines.push(&data);
                    }
                }
                Some(Err(error)) => {
                    return Err(lost(&self.socket, "in the middle of a feed", &error));
                }
                None if self.lines.has_rest() => {
                    let message = format!(
                        "the agent at {} ended a feed in the middle of a line",
                        self.socket.display()
                    );
                    return Err(
                        Failure::new(Code::NoDaemon, message).hint("see `journalctl -u thinmover`")
                    );
                }
                None => return Ok(None),
            }
        }
    }
}

impl Iterator for Feed {
    type Item = Result<Value>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.step().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}
