//! One request, read whole, and who handles it.

use std::future::Future;

use hyper::http::request::Parts;
use hyper::{Method, Uri};

use super::{Answer, Peer};
use crate::failure::{Code, Failure, Result};

/// Gives each request its answer.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one request. It runs to its end even when the client goes away before, so that what
    /// it began is never left half done. A panic is answered with status 500.
    fn handle(&self, call: Call) -> impl Future<Output = Answer> + Send;
}

/// A request whose body came in whole.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The method, which may be any token.
    pub(crate) method: Method,
    /// The path as it was sent, percent-encoded; [`segments`](Self::segments) decodes it.
    pub(crate) path: String,
    /// The query's pairs in the order they were sent, decoded. A key without `=` has an empty value.
    pub(crate) query: Vec<(String, String)>,
    /// The body, at most `Limits::body_bytes` long.
    pub(crate) body: Vec<u8>,
    /// Who called.
    pub(crate) peer: Peer,
}

impl Call {
    /// A call of a request's head and body.
    ///
    /// # Errors
    /// `Usage` where the query does not decode.
    pub(super) fn new(head: Parts, body: Vec<u8>, peer: Peer) -> Result<Self> {
        let query = query(&head.uri)?;
        Ok(Self { method: head.method, path: head.uri.path().to_owned(), query, body, peer })
    }

    /// The path's parts between slashes, decoded: `/v1/volumes/a%2Fb` is `v1`, `volumes`, `a/b`.
    ///
    /// # Errors
    /// `Usage` where a part does not decode to UTF-8.
    pub(crate) fn segments(&self) -> Result<Vec<String>> {
        let path = self.path.strip_prefix('/').unwrap_or(&self.path);
        path.split('/').map(|segment| percent_decoded(segment.as_bytes(), false)).collect()
    }
}

/// Decodes a query as browsers and Go's `url.Values` encode it: `+` stands for a space.
fn query(uri: &Uri) -> Result<Vec<(String, String)>> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((percent_decoded(key.as_bytes(), true)?, percent_decoded(value.as_bytes(), true)?))
        })
        .collect()
}

/// Percent-decoding of RFC 3986, 2.1, which accepts nothing else after a `%` than two hex digits.
fn percent_decoded(text: &[u8], plus_is_space: bool) -> Result<String> {
    let refuse = |why: &str| {
        let text = String::from_utf8_lossy(text);
        Failure::new(Code::Usage, format!("`{text}` in the request's URL {why}"))
    };
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = (rest.next().and_then(hex_digit), rest.next().and_then(hex_digit));
                let (Some(high), Some(low)) = digits else {
                    return Err(refuse("has a % without two hex digits"));
                };
                high << 4 | low
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).map_err(|_| refuse("is not UTF-8"))
}

fn hex_digit(byte: &u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(uri: &'static str) -> Result<Call> {
        let (head, ()) = hyper::Request::builder().uri(uri).body(()).unwrap().into_parts();
        Call::new(head, Vec::new(), Peer { uid: 0, gid: 0, pid: None, groups: Vec::new() })
    }

    #[test]
    fn a_path_is_split_before_it_is_decoded() {
        for (uri, segments) in [
            ("/v1/volumes/a%2Fb", &["v1", "volumes", "a/b"][..]),
            ("/v1/a+b%20c?x/y", &["v1", "a+b c"]),
            ("/", &[""]),
            ("/v1/", &["v1", ""]),
            ("/%c3%a9", &["é"]),
        ] {
            assert_eq!(call(uri).unwrap().segments().unwrap(), segments, "{uri}");
        }
    }

    #[test]
    fn a_query_is_decoded_in_order() {
        let pairs = call("/?watch=1&since=a%26b+c&flag&&x=y=z").unwrap().query;
        let expected = [("watch", "1"), ("since", "a&b c"), ("flag", ""), ("x", "y=z")];
        assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_does_not_decode_is_refused() {
        for uri in ["/%", "/%4", "/%zz", "/%+1", "/a%ff"] {
            assert_eq!(call(uri).unwrap().segments().unwrap_err().code, Code::Usage, "{uri}");
        }
        for uri in ["/?a=%", "/?%f=1", "/?a=%80"] {
            assert_eq!(call(uri).unwrap_err().code, Code::Usage, "{uri}");
        }
    }
}
