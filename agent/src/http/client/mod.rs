//! Asks the agent, and waits for its answer.

mod connect;
mod feed;
mod lines;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

pub(crate) use feed::Feed;

use super::document;
use crate::failure::{Code, Failure, Result, chain};

/// The most bytes of one answer that are read into memory.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// A client of the agent's socket. Each call has a connection and a runtime of its own and blocks
/// its caller, which must not be a task of a runtime itself.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the socket at this path. Nothing is connected yet.
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Sends one request and waits, however long it takes, for its answer. An answer without a
    /// body is `null`.
    ///
    /// # Errors
    /// The failure the agent answered with; `NoDaemon` where no agent answers or it goes away
    /// before its answer is whole; `PermissionDenied` where the socket may not be used; `Usage`
    /// where `path_and_query` is none; `Failed` where the answer cannot be understood.
    pub(crate) fn call(
        &self,
        method: Method,
        path_and_query: &str,
        body: Option<&Value>,
    ) -> Result<Value> {
        let runtime = runtime()?;
        runtime.block_on(async {
            let response = self.send(method, path_and_query, body).await?;
            let status = response.status();
            let body = self.whole(response).await?;
            if !status.is_success() {
                return Err(document::read(status, &body));
            }
            if body.is_empty() {
                return Ok(Value::Null);
            }
            serde_json::from_slice(&body).map_err(|error| not_json(&self.socket, &error))
        })
    }

    /// Opens a feed: an answer that goes on, one document a line.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub(crate) fn feed(&self, path_and_query: &str) -> Result<Feed> {
        let runtime = runtime()?;
        let response = runtime.block_on(async {
            let response = self.send(Method::GET, path_and_query, None).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            Err(document::read(status, &self.whole(response).await?))
        })?;
        Ok(Feed::new(runtime, response.into_body(), self.socket.clone()))
    }

    async fn send(
        &self,
        method: Method,
        path_and_query: &str,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path_and_query)
            // RFC 9112, 3.2 wants one; a unix socket has no name to put there.
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| {
                Failure::new(Code::Usage, format!("cannot ask for `{path_and_query}`: {error}"))
            })?;
        let stream = connect::connect(&self.socket).await?;
        let lost = |error: hyper::Error| lost(&self.socket, "before its answer", &error);
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        // It moves the bytes while the runtime waits for the answer. Its errors show there, too.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(lost)
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Bytes> {
        match Limited::new(response.into_body(), ANSWER_BYTES).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Failure::new(
                Code::Failed,
                format!("the agent's answer is larger than {ANSWER_BYTES} bytes"),
            )),
            Err(error) => Err(lost(&self.socket, "in the middle of its answer", &*error)),
        }
    }
}

fn runtime() -> Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from_error(Code::Failed, &error).context("starting the client"))
}

/// The agent went away, or never was one.
fn lost(socket: &Path, when: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    let socket = socket.display();
    if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
        let message = format!("what answers at {socket} does not speak HTTP: {}", chain(error));
        return Failure::new(Code::Failed, message);
    }
    let message = format!("the agent at {socket} went away {when}: {}", chain(error));
    Failure::new(Code::NoDaemon, message).hint("see `journalctl -u thinmover`")
}

fn not_json(socket: &Path, error: &serde_json::Error) -> Failure {
    let message = format!("what answers at {} does not speak JSON: {error}", socket.display());
    Failure::new(Code::Failed, message)
}
