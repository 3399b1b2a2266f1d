//! What goes well.

use std::io::Read;

use hyper::Method;
use nix::unistd::{getegid, geteuid, getgroups};
use serde_json::json;

use super::harness::Server;
use crate::failure::Code;
use crate::http::Limits;

#[test]
fn a_request_reaches_the_handler_whole_and_its_answer_comes_back() {
    let server = Server::start(Limits::default());
    let body = json!({"spec": {"mode": "block"}});
    let answer = server.client().call(Method::PUT, "/echo/a%20b?x=1%2B&y", Some(&body)).unwrap();
    let expected = json!({
        "method": "PUT",
        "segments": ["echo", "a b"],
        "query": [["x", "1+"], ["y", ""]],
        "body": body.to_string(),
    });
    assert_eq!(answer, expected);
}

#[test]
fn the_handler_is_told_who_calls() {
    let server = Server::start(Limits::default());
    let peer = server.client().call(Method::GET, "/peer", None).unwrap();
    let mut groups: Vec<u32> = getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
    let mut told: Vec<u32> = serde_json::from_value(peer["groups"].clone()).unwrap();
    groups.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, groups);
    assert_eq!(peer["uid"], geteuid().as_raw());
    assert_eq!(peer["gid"], getegid().as_raw());
    assert_eq!(peer["pid"], std::process::id());
}

#[test]
fn a_handlers_failure_is_the_same_failure_at_the_client() {
    let server = Server::start(Limits::default());
    let failure = server.client().call(Method::GET, "/elsewhere", None).unwrap_err();
    assert_eq!(failure.code, Code::NotFound);
    assert_eq!(failure.message, "nothing here");
    assert_eq!(failure.hint.as_deref(), Some("look there"));
}

#[test]
fn a_connection_serves_one_request_after_another() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    // Two at once, then one more.
    client
        .send("GET /length HTTP/1.1\r\n\r\nPOST /length HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc");
    assert_eq!(client.answer().1, "0");
    assert_eq!(client.answer().1, "3");
    client.send("GET /empty HTTP/1.1\r\n\r\n");
    assert!(client.answer().0.starts_with("HTTP/1.1 204 "));
    client.send("HEAD /length HTTP/1.1\r\nconnection: close\r\n\r\n");
    let mut head = String::new();
    client.stream.read_to_string(&mut head).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn a_large_last_answer_comes_whole_to_a_slow_reader() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    client.send("GET /large HTTP/1.1\r\nconnection: close\r\n\r\n");
    // The answer has begun and cannot go on until it is read.
    let mut first = [0; 100];
    client.stream.read_exact(&mut first).unwrap();
    server.assert_answers();
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"xxx\"") && rest.len() > 8 * 1024 * 1024, "{} bytes", rest.len());
}

#[test]
fn a_body_in_chunks_up_to_the_limit_is_taken() {
    let server = Server::start(Limits { body_bytes: 5, ..Limits::default() });
    let mut client = server.connect();
    client.send("PUT /length HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n");
    client.send("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert_eq!(client.answer().1, "5");
}

#[test]
fn an_unknown_method_is_the_handlers_to_judge() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    client.send("BREW /echo HTTP/1.1\r\n\r\n");
    assert!(client.answer().1.contains(r#""method":"BREW""#));
}

#[test]
fn a_handler_that_panics_is_an_error_of_its_request_alone() {
    let server = Server::start(Limits::default());
    let failure = server.client().call(Method::GET, "/panic", None).unwrap_err();
    assert_eq!(failure.code, Code::Failed);
    assert!(failure.hint.unwrap().contains("journalctl"));
    server.assert_answers();
}

#[test]
fn a_handler_runs_to_its_end_though_its_client_left() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    client.send("GET /wait HTTP/1.1\r\n\r\n");
    assert_eq!(server.next_wait(), "began");
    drop(client);
    server.assert_answers();
    server.handler.go_on.add_permits(1);
    assert_eq!(server.next_wait(), "done");
}
