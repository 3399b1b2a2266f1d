//! What a request is answered with.

use bytes::Bytes;
use hyper::StatusCode;
use tokio::sync::mpsc;

use super::document;
use crate::failure::Failure;

/// The answer to one request; its content type is `application/json`.
#[derive(Debug)]
pub(crate) enum Answer {
    /// One document.
    Json {
        /// The status.
        status: StatusCode,
        /// The document.
        body: Vec<u8>,
    },
    /// Status 200 and a stream of documents. Each item is one or more whole lines, each ended by a
    /// newline. The answer ends when the sender is dropped, and after the lines at hand when the
    /// server stops. The channel is closed when the client goes away.
    Feed(mpsc::Receiver<Bytes>),
}

impl Answer {
    /// The document of a failure, with the status that fits its code.
    pub(crate) fn failure(failure: &Failure) -> Self {
        Self::Json { status: failure.code.http_status(), body: document::write(failure) }
    }
}
