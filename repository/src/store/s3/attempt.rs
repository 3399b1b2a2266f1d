//! One attempt of a request, watched: what was sent, and what came back. The library above turns
//! answers into errors that no longer say.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService, ReqwestConnector,
};

/// The longest text of an error that is taken from an answer, in bytes.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// What is known of an attempt.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: Option<u16>,
    pub(super) retry_after: Option<Duration>,
    /// The body of an answer that is no success.
    pub(super) body: String,
    /// Why there is no answer.
    pub(super) broken: Option<Broken>,
    /// Why the credentials may be out of date.
    pub(super) stale_credentials: Option<String>,
}

/// A request that was not answered.
#[derive(Debug)]
pub(super) struct Broken {
    /// Whether there was no connection, so that nothing was sent.
    pub(super) is_unsent: bool,
    pub(super) reason: String,
}

tokio::task_local! {
    static ANSWER: Arc<Mutex<Answer>>;
}

/// Runs an attempt and tells what was seen of it, also when it is dropped half way.
pub(super) async fn watch<F: Future>(answer: Arc<Mutex<Answer>>, attempt: F) -> F::Output {
    ANSWER.scope(answer, attempt).await
}

pub(super) fn note_stale_credentials(reason: String) {
    note(|answer| answer.stale_credentials = Some(reason));
}

fn note(change: impl FnOnce(&mut Answer)) {
    // Outside an attempt nobody asks.
    let _ = ANSWER.try_with(|answer| {
        change(&mut answer.lock().unwrap_or_else(PoisonError::into_inner));
    });
}

/// Makes clients that are watched.
#[derive(Debug)]
pub(super) struct WatchedConnector;

impl HttpConnector for WatchedConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Watched { inner }))
    }
}

#[derive(Debug)]
struct Watched {
    inner: HttpClient,
}

#[async_trait::async_trait]
impl HttpService for Watched {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        match self.inner.execute(request).await {
            Ok(response) => answered(response).await,
            Err(error) => {
                let is_unsent = error.kind() == HttpErrorKind::Connect;
                let reason = innermost(&error);
                note(|answer| answer.broken = Some(Broken { is_unsent, reason }));
                Err(error)
            }
        }
    }
}

async fn answered(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let status = response.status();
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let retry_after = retry_after.and_then(|text| text.parse().ok()).map(Duration::from_secs);
    note(|answer| {
        answer.status = Some(status.as_u16());
        answer.retry_after = retry_after;
    });
    if status.is_success() {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    // One that is too long or breaks off says nothing; the status does.
    let body = Limited::new(body, ERROR_BYTES_MAX).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    note(|answer| answer.body = String::from_utf8_lossy(&body).into_owned());
    Ok(HttpResponse::from_parts(head, HttpResponseBody::from(body)))
}

/// The reason at the bottom of an error: what lies above says only that something failed.
pub(super) fn innermost(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
