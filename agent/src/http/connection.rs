//! The life of one connection, from its credentials to its end.

use std::future::poll_fn;
use std::sync::Arc;

use hyper::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::body::stopped;
use super::exchange::Exchange;
use super::limits::HEAD_BYTES;
use super::places::Place;
use super::service::Requests;
use super::wire::Wire;
use super::{Handler, Limits, Peer, document};
use crate::failure::{Code, Failure, chain};

/// Serves one connection until it ends, it loses its place, or the server stops and its answer in
/// progress is out. One whose peer cannot be told is closed.
pub(super) async fn run<H: Handler>(
    stream: UnixStream,
    place: Place,
    handler: Arc<H>,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    let peer = match Peer::of(&stream) {
        Ok(peer) => peer,
        Err(error) => {
            log::warn!("a connection was closed: its peer's credentials cannot be read: {error}");
            return;
        }
    };
    let exchange = Arc::new(Exchange::new(place));
    let wire = Wire::new(stream, Arc::clone(&exchange), limits.write_stall);
    let requests = Requests::new(handler, peer, limits, stop.clone(), Arc::clone(&exchange));
    tokio::select! {
        // Who has lost its place begins nothing more.
        biased;
        () = exchange.place().lost() => {}
        () = converse(wire, requests, &exchange, limits, stop) => {}
    }
}

async fn converse<H: Handler>(
    wire: Wire,
    requests: Requests<H>,
    exchange: &Exchange,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(wire), requests);
    let ended = tokio::select! {
        ended = poll_fn(|context| connection.poll_without_shutdown(context)) => ended,
        () = stopped(stop) => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|context| connection.poll_without_shutdown(context)).await
        }
    };
    let parts = connection.into_parts();
    let mut wire = parts.io.into_inner();
    let last_words = match ended {
        Ok(()) => Vec::new(),
        Err(error) => {
            log::debug!("a connection ended: {}", chain(&error));
            let refusal = refusal(&error, &limits, !parts.read_buf.is_empty());
            match refusal.filter(|_| !exchange.is_under_way()) {
                Some((status, failure)) => written_out(status, &failure),
                None => return,
            }
        }
    };
    // A client that does not read its answer any more has no claim to it.
    let _ = timeout(limits.linger, async {
        wire.write_last(&last_words).await?;
        wire.linger().await
    })
    .await;
}

/// The answer to headers that hyper gave up on; none where the client has sent nothing or is gone.
fn refusal(
    error: &hyper::Error,
    limits: &Limits,
    has_begun: bool,
) -> Option<(StatusCode, Failure)> {
    if error.is_timeout() {
        let message = format!("the request's headers did not come within {:?}", limits.header_read);
        let failure = Failure::new(Code::TimedOut, message);
        return has_begun.then_some((StatusCode::REQUEST_TIMEOUT, failure));
    }
    if error.is_parse_too_large() {
        let message = format!(
            "the request line and headers are more than {HEAD_BYTES} bytes, or too many headers"
        );
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Some((status, Failure::new(Code::TooLarge, message)));
    }
    error.is_parse().then(|| {
        let message = format!("this is not a request of HTTP/1.1: {}", chain(error));
        (StatusCode::BAD_REQUEST, Failure::new(Code::Usage, message))
    })
}

/// A whole answer as bytes, the last one of its connection.
pub(super) fn written_out(status: StatusCode, failure: &Failure) -> Vec<u8> {
    let body = document::write(failure);
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}
