//! A server in a thread of its own, and clients that send what they like.

use std::future::pending;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::failure::{Code, Failure};
use crate::http::{Answer, Call, Client, Handler, Limits, serve};

/// How long a test waits for what must come; only a failing test gets there.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What `ask` comes to with a client of a peer that reads the beginning of one request and then does
/// as `answer` says, after which the connection ends.
pub(super) fn with_peer<T>(
    answer: impl FnOnce(UnixStream) + Send + 'static,
    ask: impl FnOnce(Client) -> T,
) -> T {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("api.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        answer(stream);
    });
    let asked = ask(Client::new(socket));
    peer.join().unwrap();
    asked
}

/// Answers by the first segment of the path.
pub(super) struct TestHandler {
    /// `/wait` answers when it gets a permit.
    pub(super) go_on: Semaphore,
    /// Tells of each `/wait` that has begun, then of each that is done.
    waits: std_mpsc::Sender<&'static str>,
    /// The ends of the feeds that were asked for.
    feeds: std_mpsc::Sender<mpsc::Sender<Bytes>>,
}

impl Handler for TestHandler {
    async fn handle(&self, call: Call) -> Answer {
        let segments = match call.segments() {
            Ok(segments) => segments,
            Err(failure) => return Answer::failure(&failure),
        };
        match segments[0].as_str() {
            "echo" => ok(&json!({
                "method": call.method.as_str(),
                "segments": segments,
                "query": call.query,
                "body": String::from_utf8_lossy(&call.body),
            })),
            "peer" => ok(&json!({
                "uid": call.peer.uid,
                "gid": call.peer.gid,
                "pid": call.peer.pid,
                "groups": call.peer.groups,
            })),
            "length" => ok(&json!(call.body.len())),
            "large" => ok(&json!("x".repeat(8 * 1024 * 1024))),
            "empty" => Answer::Json { status: StatusCode::NO_CONTENT, body: Vec::new() },
            "panic" => panic!("as asked"),
            "never" => pending().await,
            "wait" => {
                self.waits.send("began").unwrap();
                self.go_on.acquire().await.unwrap().forget();
                self.waits.send("done").unwrap();
                ok(&json!("waited"))
            }
            "feed" => {
                let (sender, receiver) = mpsc::channel(4);
                self.feeds.send(sender).unwrap();
                Answer::Feed(receiver)
            }
            _ => Answer::failure(&Failure::new(Code::NotFound, "nothing here").hint("look there")),
        }
    }
}

fn ok(document: &serde_json::Value) -> Answer {
    Answer::Json { status: StatusCode::OK, body: document.to_string().into_bytes() }
}

/// A running server; it is stopped when dropped.
pub(super) struct Server {
    pub(super) handler: Arc<TestHandler>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    waits: std_mpsc::Receiver<&'static str>,
    feeds: std_mpsc::Receiver<mpsc::Sender<Bytes>>,
    folder: TempDir,
}

impl Server {
    pub(super) fn start(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("api.sock");
        let (stop, stopped) = watch::channel(false);
        let (waits_sender, waits) = std_mpsc::channel();
        let (feeds_sender, feeds) = std_mpsc::channel();
        let handler = Arc::new(TestHandler {
            go_on: Semaphore::new(0),
            waits: waits_sender,
            feeds: feeds_sender,
        });
        let (ready_sender, ready) = std_mpsc::channel();
        let thread = std::thread::spawn({
            let handler = Arc::clone(&handler);
            move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let listener = UnixListener::bind(socket).unwrap();
                    ready_sender.send(()).unwrap();
                    serve(listener, handler, limits, stopped).await;
                });
            }
        });
        ready.recv().unwrap();
        Self { handler, stop, thread: Some(thread), waits, feeds, folder }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("api.sock")
    }

    pub(super) fn client(&self) -> Client {
        Client::new(self.socket())
    }

    pub(super) fn connect(&self) -> RawClient {
        RawClient::connect(&self.socket())
    }

    /// What the handler tells next of a `/wait`.
    pub(super) fn next_wait(&self) -> &'static str {
        self.waits.recv_timeout(PATIENCE).unwrap()
    }

    /// The sending end of the feed that was asked for next.
    pub(super) fn next_feed(&self) -> mpsc::Sender<Bytes> {
        self.feeds.recv_timeout(PATIENCE).unwrap()
    }

    /// Tells the server to stop and does not wait for it.
    pub(super) fn ask_to_stop(&self) {
        let _ = self.stop.send(true);
    }

    /// Waits until the server has ended.
    pub(super) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// The server answers a well-behaved client.
    pub(super) fn assert_answers(&self) {
        let answer = self.client().call(hyper::Method::GET, "/length", None).unwrap();
        assert_eq!(answer, json!(0));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ask_to_stop();
        self.join();
    }
}

/// A client that knows no HTTP.
pub(super) struct RawClient {
    pub(super) stream: UnixStream,
}

impl RawClient {
    pub(super) fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// The head and body of one answer with a known length.
    pub(super) fn answer(&mut self) -> (String, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap_or("0").parse().unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    /// The connection ends without another byte.
    pub(super) fn assert_closed(&mut self) {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(count) => assert_eq!(count, 0, "a byte came: {byte:?}"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }

    /// An answer with this status and an error document with this code, after which the connection
    /// ends.
    pub(super) fn assert_refused(&mut self, status: &str, code: &str) {
        let (head, body) = self.answer();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.contains("content-type: application/json\r\n"), "{head}");
        assert!(head.contains("connection: close\r\n"), "{head}");
        let document: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(document["error"]["code"], code, "{document}");
        assert!(!document["error"]["message"].as_str().unwrap().is_empty());
        self.assert_closed();
    }
}
