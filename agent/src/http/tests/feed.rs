//! Answers that go on.

use std::io::{Read, Write};
use std::time::Duration;

use serde_json::json;

use super::harness::{PATIENCE, Server, with_peer};
use crate::failure::{Code, Failure};
use crate::http::Limits;

#[test]
fn a_feed_arrives_line_by_line_and_ends() {
    let server = Server::start(Limits::default());
    let mut feed = server.client().feed("/feed?watch=1").unwrap();
    let lines = server.next_feed();
    // Each is received before the next is sent.
    for number in 0..3 {
        lines.blocking_send(format!("{{\"number\":{number}}}\n").into()).unwrap();
        assert_eq!(feed.next().unwrap().unwrap(), json!({"number": number}));
    }
    lines.blocking_send("4\n\n5\n".into()).unwrap();
    drop(lines);
    assert_eq!(feed.next().unwrap().unwrap(), 4);
    assert_eq!(feed.next().unwrap().unwrap(), 5);
    assert!(feed.next().is_none());
    assert!(feed.next().is_none());
}

#[test]
fn a_feed_is_json_in_chunks_and_its_connection_goes_on() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    client.send("GET /feed HTTP/1.1\r\n\r\n");
    let lines = server.next_feed();
    let (head, _) = client.answer();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    lines.blocking_send("{}\n".into()).unwrap();
    drop(lines);
    let mut body = [0; 13];
    client.stream.read_exact(&mut body).unwrap();
    assert_eq!(&body, b"3\r\n{}\n\r\n0\r\n\r\n");
    client.send("GET /length HTTP/1.1\r\n\r\n");
    assert_eq!(client.answer().1, "0");
}

#[test]
fn a_feed_learns_that_its_client_left() {
    let server = Server::start(Limits::default());
    let feed = server.client().feed("/feed").unwrap();
    let lines = server.next_feed();
    drop(feed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let closed = async { tokio::time::timeout(PATIENCE, lines.closed()).await };
    runtime.block_on(closed).unwrap();
}

#[test]
fn a_feed_whose_client_does_not_read_is_ended() {
    let limits = Limits { write_stall: Duration::from_millis(50), ..Limits::default() };
    let server = Server::start(limits);
    let feed = server.client().feed("/feed").unwrap();
    let lines = server.next_feed();
    let line = format!("\"{}\"\n", "x".repeat(64 * 1024));
    while lines.blocking_send(line.clone().into()).is_ok() {}
    // What it had not read by then ends in an error, not as if it were all.
    let last = feed.last().unwrap();
    assert_eq!(last.unwrap_err().code, Code::NoDaemon);
}

#[test]
fn a_failure_instead_of_a_feed_is_the_failure() {
    let server = Server::start(Limits::default());
    assert_eq!(server.client().feed("/elsewhere").err().unwrap().code, Code::NotFound);
}

/// What the client makes of a feed with these bytes, after which the connection ends.
fn feed_of(bytes: Vec<u8>) -> Vec<Result<serde_json::Value, Failure>> {
    with_peer(
        move |mut stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
            // The client may have given up before it was sent all.
            let _ = stream.write_all(&bytes);
        },
        |client| client.feed("/feed").unwrap().collect(),
    )
}

#[test]
fn a_feed_that_breaks_off_is_an_error_to_ask_again_after() {
    for bytes in [
        // The connection ends between lines, in a line, in a chunk; the feed ends in a line.
        &b"2\r\n1\n\r\n"[..],
        b"3\r\n1\n2\r\n",
        b"7\r\n1\n2",
        b"3\r\n1\n2\r\n0\r\n\r\n",
    ] {
        let answers = feed_of(bytes.to_vec());
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(answers.len(), 2, "{text}: {answers:?}");
        assert_eq!(answers[0].as_ref().unwrap(), 1, "{text}");
        assert_eq!(answers[1].as_ref().unwrap_err().code, Code::NoDaemon, "{text}");
    }
}

#[test]
fn a_line_that_is_too_long_or_no_json_is_an_error() {
    let answers = feed_of(b"5\r\noops\n\r\n0\r\n\r\n".to_vec());
    assert_eq!(answers[0].as_ref().unwrap_err().code, Code::Failed);
    assert_eq!(answers.len(), 1);

    let mut endless = b"7fffffff\r\n".to_vec();
    endless.resize(1024 * 1024 + 100, b'1');
    let answers = feed_of(endless);
    assert_eq!(answers[0].as_ref().unwrap_err().code, Code::Failed);
    assert!(answers[0].as_ref().unwrap_err().message.contains("longer"), "{answers:?}");
}
