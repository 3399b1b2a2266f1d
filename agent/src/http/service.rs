//! From a request's headers to its answer.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::service::Service;
use hyper::{Request, Response, StatusCode};
use tokio::sync::watch;

use super::body::{self, AnswerBody};
use super::exchange::Exchange;
use super::{Answer, Call, Handler, Limits, Peer};
use crate::failure::{Code, Failure, Result};

/// The requests of one connection.
pub(super) struct Requests<H>(Arc<Context<H>>);

struct Context<H> {
    handler: Arc<H>,
    peer: Peer,
    limits: Limits,
    stop: watch::Receiver<bool>,
    exchange: Arc<Exchange>,
}

impl<H: Handler> Requests<H> {
    pub(super) fn new(
        handler: Arc<H>,
        peer: Peer,
        limits: Limits,
        stop: watch::Receiver<bool>,
        exchange: Arc<Exchange>,
    ) -> Self {
        Self(Arc::new(Context { handler, peer, limits, stop, exchange }))
    }
}

impl<H: Handler> Service<Request<Incoming>> for Requests<H> {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future =
        Pin<Box<dyn Future<Output = std::result::Result<Response<AnswerBody>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let context = Arc::clone(&self.0);
        context.exchange.begin();
        Box::pin(async move { Ok(context.answer(request).await) })
    }
}

impl<H: Handler> Context<H> {
    async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let (head, body) = request.into_parts();
        let body = match body::read(body, &self.limits, &self.exchange).await {
            Ok(body) => body,
            Err(failure) => {
                // Where the next request begins is not known.
                let mut response = self.response(Answer::failure(&failure));
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                return response;
            }
        };
        let answer = match self.handled(Call::new(head, body, self.peer.clone())).await {
            Ok(answer) => answer,
            Err(failure) => Answer::failure(&failure),
        };
        self.response(answer)
    }

    /// The handler's answer, from a task of its own: see [`Handler::handle`].
    async fn handled(&self, call: Result<Call>) -> Result<Answer> {
        let call = call?;
        if !self.exchange.place().begin_answer() {
            return Err(Failure::new(Code::Busy, "the agent has too many connections"));
        }
        let handler = Arc::clone(&self.handler);
        // Its place stays taken until it is done: who hangs up early can not begin more that way.
        let exchange = Arc::clone(&self.exchange);
        let handled = tokio::spawn(async move {
            let answer = handler.handle(call).await;
            drop(exchange);
            answer
        });
        handled.await.map_err(|error| {
            log::error!("a request's handler ended before its answer: {error}");
            Failure::new(Code::Failed, "the agent failed in the middle of this request")
                .hint("see `journalctl -u thinmover`")
        })
    }

    fn response(&self, answer: Answer) -> Response<AnswerBody> {
        let exchange = Arc::clone(&self.exchange);
        let (status, body) = match answer {
            Answer::Json { status, body } => (status, AnswerBody::whole(body, exchange)),
            Answer::Feed(lines) => {
                (StatusCode::OK, AnswerBody::feed(lines, self.stop.clone(), exchange))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}
