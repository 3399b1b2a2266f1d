//! A bucket at the end of a bad line: every call ends right or says what is wrong.

mod reading;
mod setup;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use thinmover_repository::store::{S3Options, Store, StoreErrorKind, StoreResult};

use super::support::lossy::Line;
use super::support::server::{Kind, SECRET, Server};
use super::support::*;

/// A store behind a bad line, and a good one to the same objects.
struct Pair {
    _server: Server,
    line: Line,
    options: S3Options,
    store: Arc<dyn Store>,
    good: Arc<dyn Store>,
}

impl Pair {
    fn new() -> Self {
        Self::with(Server::start(Kind::Honours), Duration::from_secs(20))
    }

    /// Waits for no answer for long, and may take a slow one for none.
    fn impatient() -> Self {
        Self::with(Server::start(Kind::Honours), Duration::from_millis(1500))
    }

    fn with(server: Server, attempt_timeout: Duration) -> Self {
        let line = Line::to(server.address());
        let options = S3Options {
            endpoint: Some(line.url()),
            attempt_timeout,
            retry_time: Duration::from_secs(10),
            ..bucket_options(&server)
        };
        let (store, good) =
            (open_bucket("p", &options), open_bucket("p", &bucket_options(&server)));
        Self { _server: server, line, options, store, good }
    }
}

fn message<T: std::fmt::Debug>(result: StoreResult<T>, expected: StoreErrorKind) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind, expected, "{error}");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(SECRET), "{shown}");
    error.to_string()
}
