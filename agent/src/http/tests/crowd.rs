//! Many clients at once.

use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::harness::{PATIENCE, RawClient, Server};
use crate::http::{Client, Limits, raise_open_files};

const CROWD: usize = 1000;

/// No time of the server's ends anything in these tests: only a lost place does.
fn patient(connections: usize) -> Limits {
    let long = Duration::from_secs(3600);
    Limits {
        connections,
        header_read: long,
        body_read: long,
        write_stall: long,
        ..Limits::default()
    }
}

fn crowd(server: &Server) -> Vec<RawClient> {
    // Both ends of each connection are open in this process.
    assert!(raise_open_files(2 * CROWD).unwrap() >= 2 * CROWD as u64);
    (0..CROWD)
        .map(|number| {
            let mut client = server.connect();
            client.send(match number % 3 {
                0 => "",
                1 => "GET /length HTTP/1.1\r\nhost: ",
                _ => "PUT /length HTTP/1.1\r\ncontent-length: 10\r\n\r\nhalf",
            });
            client
        })
        .collect()
}

#[test]
fn a_thousand_half_requests_keep_nobody_from_an_answer() {
    let server = Server::start(patient(Limits::default().connections));
    let crowd = crowd(&server);
    server.assert_answers();
    drop(crowd);
}

#[test]
fn half_requests_at_the_limit_give_way_and_the_oldest_first() {
    let server = Server::start(patient(100));
    let mut crowd = crowd(&server);
    server.assert_answers();
    // The one that was answered has taken a place, too.
    let (closed, open) = crowd.split_at_mut(CROWD - 99);
    for client in closed {
        client.assert_closed();
    }
    for client in open {
        client.stream.set_nonblocking(true).unwrap();
        let error = client.stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn a_request_in_progress_and_a_feed_keep_their_places() {
    let server = Server::start(patient(3));
    let mut waits = server.connect();
    waits.send("GET /wait HTTP/1.1\r\n\r\n");
    assert_eq!(server.next_wait(), "began");
    let mut feed = server.client().feed("/feed").unwrap();
    let lines = server.next_feed();

    let crowd = crowd(&server);
    server.assert_answers();
    server.handler.go_on.add_permits(1);
    assert_eq!(waits.answer().1, r#""waited""#);
    lines.blocking_send("1\n".into()).unwrap();
    assert_eq!(feed.next().unwrap().unwrap(), 1);
    drop(crowd);
}

#[test]
fn a_client_is_told_when_all_places_are_being_answered() {
    let server = Server::start(patient(1));
    let mut waits = server.connect();
    waits.send("GET /wait HTTP/1.1\r\n\r\n");
    assert_eq!(server.next_wait(), "began");
    let mut refused = server.connect();
    refused.assert_refused("503", "busy");
    // A client that hangs up does not get another place as long as its request is handled.
    drop(waits);
    server.connect().assert_refused("503", "busy");
    server.handler.go_on.add_permits(1);
    assert_eq!(server.next_wait(), "done");
    // The place is free when the handler's task has ended, which is a moment later.
    let deadline = Instant::now() + PATIENCE;
    while server.client().call(hyper::Method::GET, "/length", None).is_err() {
        assert!(Instant::now() < deadline, "its place stays taken");
    }
}

#[test]
fn a_connection_whose_answer_is_out_gives_way_again() {
    let server = Server::start(patient(1));
    let mut idle = server.connect();
    idle.send("GET /length HTTP/1.1\r\n\r\n");
    assert_eq!(idle.answer().1, "0");
    server.assert_answers();
    idle.assert_closed();
}

#[test]
fn halves_of_bodies_give_way_when_together_they_are_too_large() {
    let limits = Limits { bodies_bytes: 10_000, ..patient(100) };
    let server = Server::start(limits);
    let mut clients: Vec<RawClient> = (0..5)
        .map(|_| {
            let mut client = server.connect();
            client.send("PUT /length HTTP/1.1\r\ncontent-length: 4001\r\n\r\n");
            client.send([b'x'; 4000]);
            client
        })
        .collect();
    for client in &mut clients[..3] {
        client.assert_closed();
    }
    for client in &mut clients[3..] {
        client.send("x");
        assert_eq!(client.answer().1, "4001");
    }
}

const FEW_FILES: &str = "THINMOVER_TEST_FEW_FILES";

/// The other side of the next test, in a process of its own because the limit is a process's. Does
/// nothing when it is run by itself.
#[test]
fn server_of_the_next_test() {
    let Some(told) = std::env::var_os(FEW_FILES).map(PathBuf::from) else { return };
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let server = Server::start(patient(1024));
    std::os::unix::fs::symlink(server.socket(), told).unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_server_without_open_files_left_closes_the_oldest_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "http::tests::crowd::server_of_the_next_test"])
        .env(FEW_FILES, &socket)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !socket.exists() {
        assert!(server.try_wait().unwrap().is_none(), "it has ended");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut crowd: Vec<_> = (0..500)
        .map(|_| {
            let mut client = RawClient::connect(&socket);
            client.send("GET /length HTTP/1.1\r\n");
            client
        })
        .collect();
    let answer = Client::new(socket).call(hyper::Method::GET, "/length", None);
    assert_eq!(answer.unwrap(), 0);
    crowd[0].assert_closed();
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
}
