//! One attempt of a request, watched: what was sent, and what came back. The library above turns
//! answers into errors that no longer say.

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};

/// The longest text of an error that is taken from an answer, in bytes.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// A page of a thousand keys, each of 1,024 bytes that XML may make six times as long, and more.
const LISTING_BYTES_MAX: usize = 16 << 20;

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

/// Gives out a client that is watched.
#[derive(Debug)]
pub(super) struct WatchedConnector(pub(super) reqwest::Client);

impl HttpConnector for WatchedConnector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Watched { inner: HttpClient::new(self.0.clone()) }))
    }
}

#[derive(Debug)]
struct Watched {
    inner: HttpClient,
}

#[async_trait::async_trait]
impl HttpService for Watched {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let query = request.uri().query().unwrap_or_default();
        let is_listing = query.split('&').any(|pair| pair == "list-type=2");
        match self.inner.execute(request).await {
            Ok(response) => answered(response, is_listing).await,
            Err(error) => {
                let is_unsent = error.kind() == HttpErrorKind::Connect;
                let reason = innermost(&error);
                note(|answer| answer.broken = Some(Broken { is_unsent, reason }));
                Err(error)
            }
        }
    }
}

async fn answered(response: HttpResponse, is_listing: bool) -> Result<HttpResponse, HttpError> {
    let status = response.status();
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let retry_after = retry_after.and_then(|text| text.parse().ok()).map(Duration::from_secs);
    note(|answer| {
        answer.status = Some(status.as_u16());
        answer.retry_after = retry_after;
    });
    if status.is_success() && !is_listing {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    if status.is_success() {
        let body = Limited::new(body, LISTING_BYTES_MAX).collect().await;
        let body = body.map_err(|error| HttpError::new_boxed(HttpErrorKind::Decode, error))?;
        let body = body.to_bytes();
        check_listing(&String::from_utf8_lossy(&body))
            .map_err(|reason| HttpError::new(HttpErrorKind::Decode, io::Error::other(reason)))?;
        return Ok(HttpResponse::from_parts(head, HttpResponseBody::from(body)));
    }
    // One that is too long or breaks off says nothing; the status does.
    let body = Limited::new(body, ERROR_BYTES_MAX).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    note(|answer| answer.body = String::from_utf8_lossy(&body).into_owned());
    Ok(HttpResponse::from_parts(head, HttpResponseBody::from(body)))
}

/// Whether an answer is a page of a listing. The library takes any other document for an empty one, and
/// what is not listed would be taken for garbage.
fn check_listing(body: &str) -> Result<(), &'static str> {
    let mut rest = body.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    if rest.starts_with("<?") {
        rest = rest.split_once("?>").map_or("", |(_, rest)| rest).trim_start();
    }
    let is_root = rest
        .strip_prefix("<ListBucketResult")
        .is_some_and(|rest| rest.starts_with(|c: char| c == '>' || c.is_ascii_whitespace()));
    if !is_root || !rest.trim_end().ends_with("</ListBucketResult>") {
        return Err("it is no listing of a bucket");
    }
    let text = |name: &str| {
        let (_, rest) = rest.split_once(&format!("<{name}>"))?;
        rest.split_once('<').map(|(text, _)| text.trim())
    };
    match text("IsTruncated") {
        Some("false") => Ok(()),
        Some("true") if text("NextContinuationToken").is_some_and(|token| !token.is_empty()) => {
            Ok(())
        }
        Some("true") => Err("it says that there is more and not how to go on"),
        _ => Err("it does not say whether there is more"),
    }
}

/// The reason at the bottom of an error: what lies above says only that something failed.
pub(super) fn innermost(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::check_listing;

    #[test]
    fn only_a_whole_page_of_a_listing_is_one() {
        let page = |inside: &str| {
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult \
                 xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inside}</ListBucketResult>\n"
            )
        };
        assert_eq!(check_listing(&page("<IsTruncated>false</IsTruncated>")), Ok(()));
        let more =
            "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>";
        assert_eq!(check_listing(&page(more)), Ok(()));
        assert_eq!(
            check_listing("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"),
            Ok(())
        );
        let cut_off = page("<IsTruncated>false</IsTruncated>").replace("</ListBucketResult>", "");
        for wrong in [
            "",
            "<Error><Code>SlowDown</Code></Error>",
            "<ListAllMyBucketsResult><IsTruncated>false</IsTruncated></ListAllMyBucketsResult>",
            "<!DOCTYPE html><html><body>Sign in</body></html>",
            &page("<IsTruncated>true</IsTruncated>"),
            &page("<IsTruncated>true</IsTruncated><NextContinuationToken></NextContinuationToken>"),
            &page(""),
            &cut_off,
        ] {
            assert!(check_listing(wrong).is_err(), "{wrong}");
        }
    }
}
