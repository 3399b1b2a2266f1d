//! Bodies: a request's, read within limits, and an answer's, whole or as a feed.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::Limits;
use super::exchange::Exchange;
use crate::failure::{Code, Failure, Result, chain};

/// Reads a request's body. One that announces more than the limit is refused before anything is
/// read.
///
/// # Errors
/// `TooLarge`, `TimedOut`, or `Usage` where it is not framed as HTTP says.
pub(super) async fn read(body: Incoming, limits: &Limits, exchange: &Exchange) -> Result<Vec<u8>> {
    match timeout(limits.body_read, collect(body, limits.body_bytes, exchange)).await {
        Ok(read) => read,
        Err(_) => Err(Failure::new(
            Code::TimedOut,
            format!("the request's body did not come within {:?}", limits.body_read),
        )),
    }
}

async fn collect(mut body: Incoming, most_bytes: usize, exchange: &Exchange) -> Result<Vec<u8>> {
    let too_large = || {
        let message = format!("the request's body is larger than {most_bytes} bytes");
        Failure::new(Code::TooLarge, message)
            .hint("a request names what is to be done; the data of volumes never travels in it")
    };
    if body.size_hint().lower() > most_bytes as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Failure::new(
                Code::Usage,
                format!("the request's body cannot be read: {}", chain(&error)),
            )
        })?;
        // What is no data is trailers, which mean nothing here.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > most_bytes - bytes.len() {
            return Err(too_large());
        }
        exchange.place().hold(data.len());
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// An answer's body, which tells its connection when it was given away.
pub(super) struct AnswerBody {
    content: Content,
    exchange: Arc<Exchange>,
}

enum Content {
    /// All of it; empty once it was given away.
    Whole(Bytes),
    Feed {
        lines: mpsc::Receiver<Bytes>,
        stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    },
}

impl AnswerBody {
    pub(super) fn whole(body: Vec<u8>, exchange: Arc<Exchange>) -> Self {
        Self { content: Content::Whole(body.into()), exchange }
    }

    /// A feed, which ends with its sender or when `stop` turns true.
    pub(super) fn feed(
        lines: mpsc::Receiver<Bytes>,
        stop: watch::Receiver<bool>,
        exchange: Arc<Exchange>,
    ) -> Self {
        let stopped = Box::pin(stopped(stop));
        Self { content: Content::Feed { lines, stopped }, exchange }
    }
}

/// Ends when `stop` turns true or nobody is left to turn it.
pub(super) async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.exchange.hand_over();
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut self.content {
            Content::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                (!bytes.is_empty()).then_some(bytes)
            }
            Content::Feed { lines, stopped } => match lines.poll_recv(context) {
                Poll::Ready(next) => next,
                Poll::Pending => {
                    ready!(stopped.as_mut().poll(context));
                    None
                }
            },
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Feed { .. } => SizeHint::default(),
        }
    }
}
