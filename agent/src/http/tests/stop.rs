//! How the server ends.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use hyper::Method;
use serde_json::json;

use super::harness::{PATIENCE, Server};
use crate::failure::Code;
use crate::http::Limits;

#[test]
fn answers_in_progress_get_out_and_the_rest_is_closed() {
    let mut server = Server::start(Limits { stop_grace: PATIENCE, ..Limits::default() });
    let mut waits = server.connect();
    waits.send("GET /wait HTTP/1.1\r\n\r\n");
    assert_eq!(server.next_wait(), "began");
    let mut idle = server.connect();
    idle.send("GET /length HTTP/1.1\r\n\r\n");
    idle.answer();
    let mut half = server.connect();
    half.send("GET /length HTTP");
    server.assert_answers();

    server.ask_to_stop();
    idle.assert_closed();
    half.assert_closed();
    let refused = server.client().call(Method::GET, "/length", None).unwrap_err();
    assert_eq!(refused.code, Code::NoDaemon);
    server.handler.go_on.add_permits(1);
    let (head, body) = waits.answer();
    assert_eq!(body, r#""waited""#);
    assert!(head.contains("connection: close\r\n"), "{head}");
    waits.assert_closed();
    server.join();
}

#[test]
fn an_answer_that_is_being_read_comes_whole() {
    let mut server = Server::start(Limits { stop_grace: PATIENCE, ..Limits::default() });
    let mut client = server.connect();
    client.send("GET /large HTTP/1.1\r\n\r\n");
    let mut first = [0; 100];
    client.stream.read_exact(&mut first).unwrap();
    server.ask_to_stop();
    // The listener is gone: the server has seen it.
    while UnixStream::connect(server.socket()).is_ok() {}
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"xxx\"") && rest.len() > 8 * 1024 * 1024, "{} bytes", rest.len());
    server.join();
}

#[test]
fn a_feed_ends_with_the_lines_at_hand() {
    let mut server = Server::start(Limits { stop_grace: PATIENCE, ..Limits::default() });
    let mut feed = server.client().feed("/feed").unwrap();
    let lines = server.next_feed();
    lines.blocking_send("1\n".into()).unwrap();
    assert_eq!(feed.next().unwrap().unwrap(), json!(1));
    lines.blocking_send("2\n".into()).unwrap();
    server.ask_to_stop();
    assert_eq!(feed.next().unwrap().unwrap(), json!(2));
    assert!(feed.next().is_none());
    server.join();
}

#[test]
fn an_answer_that_does_not_come_does_not_keep_the_server() {
    let grace = Duration::from_millis(50);
    let mut server = Server::start(Limits { stop_grace: grace, ..Limits::default() });
    let client = server.client();
    let call = std::thread::spawn(move || client.call(Method::GET, "/wait", None));
    assert_eq!(server.next_wait(), "began");
    server.ask_to_stop();
    server.join();
    assert_eq!(call.join().unwrap().unwrap_err().code, Code::NoDaemon);
}
