//! What the client makes of agents that are not there, or not well.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use hyper::Method;
use nix::unistd::geteuid;
use serde_json::{Value, json};

use super::harness::{Server, with_peer};
use crate::failure::{Code, Failure};
use crate::http::{Client, Limits};

fn call(client: &Client) -> Result<Value, Failure> {
    client.call(Method::GET, "/v1/version", None)
}

#[test]
fn a_missing_socket_is_no_agent_and_the_hint_says_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("api.sock");
    let failure = call(&Client::new(socket.clone())).unwrap_err();
    assert_eq!(failure.code, Code::NoDaemon);
    assert!(failure.message.contains(socket.to_str().unwrap()), "{failure}");
    let hint = failure.hint.unwrap();
    assert!(hint.contains("systemctl start thinmover.socket") && hint.contains("--standalone"));
}

#[test]
fn a_stale_socket_is_no_agent() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("api.sock");
    drop(UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    let failure = call(&Client::new(socket)).unwrap_err();
    assert_eq!(failure.code, Code::NoDaemon);
    assert!(failure.message.contains("nobody listens"), "{failure}");
}

/// Root may connect to any socket, so this shows nothing there.
#[test]
fn a_socket_without_permission_says_which_group_has_it() {
    if geteuid().is_root() {
        return;
    }
    let server = Server::start(Limits::default());
    std::fs::set_permissions(server.socket(), Permissions::from_mode(0o000)).unwrap();
    let failure = call(&server.client()).unwrap_err();
    assert_eq!(failure.code, Code::PermissionDenied);
    assert!(failure.hint.unwrap().contains("group thinmover"));
}

/// What the client makes of these bytes in answer to its request, after which the connection ends.
fn answered(bytes: &'static [u8]) -> Result<Value, Failure> {
    with_peer(move |mut stream| stream.write_all(bytes).unwrap(), |client| call(&client))
}

#[test]
fn an_agent_that_goes_away_before_or_in_its_answer_is_no_agent() {
    for bytes in [
        &b""[..],
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
    ] {
        let failure = answered(bytes).unwrap_err();
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(failure.code, Code::NoDaemon, "{text}: {failure}");
        assert!(failure.message.contains("api.sock"), "{failure}");
        assert!(failure.hint.unwrap().contains("journalctl -u thinmover"));
    }
}

#[test]
fn an_agent_that_takes_no_request_is_no_agent() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("api.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = std::thread::spawn(move || drop(listener.accept().unwrap()));
    assert_eq!(call(&Client::new(socket)).unwrap_err().code, Code::NoDaemon);
    server.join().unwrap();
}

#[test]
fn what_cannot_be_understood_is_an_error() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.9\r\n"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\noops",
        b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n",
    ] {
        let failure = answered(bytes).unwrap_err();
        assert_eq!(failure.code, Code::Failed, "{failure}");
    }
}

#[test]
fn an_answer_without_a_body_is_null() {
    assert_eq!(answered(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(), Value::Null);
}

#[test]
fn an_answer_of_any_length_is_refused_beyond_the_bound() {
    let endless = |mut stream: UnixStream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        while stream.write_all(&[b' '; 64 * 1024]).is_ok() {}
    };
    let failure = with_peer(endless, |client| call(&client)).unwrap_err();
    assert_eq!(failure.code, Code::Failed);
    assert!(failure.message.contains("larger than"), "{failure}");
}

#[test]
fn a_path_that_is_none_is_a_usage_error() {
    let server = Server::start(Limits::default());
    let failure = server.client().call(Method::GET, "/a b", None).unwrap_err();
    assert_eq!(failure.code, Code::Usage);
}

#[test]
fn a_refusal_reaches_the_client_though_its_body_was_not_read() {
    let server = Server::start(Limits { body_bytes: 10, ..Limits::default() });
    let body = json!("x".repeat(1024 * 1024));
    for _ in 0..20 {
        let failure = server.client().call(Method::PUT, "/length", Some(&body)).unwrap_err();
        assert_eq!(failure.code, Code::TooLarge, "{failure}");
    }
}
