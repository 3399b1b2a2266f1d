//! What is refused, and that the client can read why.

use std::io::Write;
use std::time::Duration;

use super::harness::{PATIENCE, Server};
use crate::http::Limits;

const GIB: u64 = 1 << 30;

#[test]
fn an_announced_body_of_a_gibibyte_is_refused_before_it_is_sent() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    client.send(format!("PUT /length HTTP/1.1\r\ncontent-length: {GIB}\r\n\r\n"));
    client.assert_refused("413", "too-large");
}

#[test]
fn a_client_that_asks_first_is_not_told_to_continue_with_a_body_too_large() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    client.send(format!(
        "PUT /length HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: {GIB}\r\n\r\n"
    ));
    client.assert_refused("413", "too-large");

    let mut client = server.connect();
    client.send("PUT /length HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    assert!(client.answer().0.starts_with("HTTP/1.1 100 "));
    client.send("ab");
    assert_eq!(client.answer().1, "2");
}

/// Sends until the server takes no more, and only then reads.
fn send_all_then_read(head: &str, piece: &[u8]) {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    client.stream.set_write_timeout(Some(PATIENCE)).unwrap();
    client.send(head);
    let mut sent_bytes = 0;
    while sent_bytes < GIB {
        match client.stream.write(piece) {
            Ok(count) => sent_bytes += count as u64,
            Err(error) => {
                let kind = error.kind();
                assert!(
                    matches!(
                        kind,
                        std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset
                    ),
                    "{error}"
                );
                break;
            }
        }
    }
    assert!(sent_bytes < GIB, "all of it was taken");
    client.assert_refused("413", "too-large");
    server.assert_answers();
}

#[test]
fn a_client_that_sends_its_gibibyte_in_spite_of_the_refusal_can_read_it_afterwards() {
    let head = format!("PUT /length HTTP/1.1\r\ncontent-length: {GIB}\r\n\r\n");
    send_all_then_read(&head, &[b'x'; 64 * 1024]);
}

#[test]
fn a_gibibyte_in_chunks_is_cut_at_the_limit_and_the_refusal_can_be_read() {
    let piece = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let head = "PUT /length HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    send_all_then_read(head, piece.as_bytes());
}

#[test]
fn what_is_no_request_is_refused() {
    let server = Server::start(Limits::default());
    for bytes in [
        "hello\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/3.7\r\n\r\n",
        "\u{0}\u{1}\u{2}\u{3}",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: many\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut client = server.connect();
        client.send(bytes);
        client.assert_refused("400", "usage");
    }
    // In the same way after a request that was answered, in whose wake it came.
    let mut client = server.connect();
    client.send("GET /length HTTP/1.1\r\n\r\nnonsense\r\n\r\n");
    assert_eq!(client.answer().1, "0");
    client.assert_refused("400", "usage");
    server.assert_answers();
}

#[test]
fn a_body_that_is_not_framed_as_announced_is_refused() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    client.send("PUT /length HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n");
    client.assert_refused("400", "usage");
}

#[test]
fn a_query_that_does_not_decode_is_refused_and_the_connection_goes_on() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    client.send("GET /length?x=%zz HTTP/1.1\r\n\r\n");
    let (head, body) = client.answer();
    assert!(head.starts_with("HTTP/1.1 400 ") && body.contains("usage"), "{head}{body}");
    client.send("GET /length HTTP/1.1\r\n\r\n");
    assert_eq!(client.answer().1, "0");
}

#[test]
fn a_flood_of_headers_is_refused() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\n");
    for number in 0..200 {
        // Whoever sends on after the answer is told that it is in vain.
        if client.stream.write_all(format!("x-{number}: {:0>1000}\r\n", 0).as_bytes()).is_err() {
            break;
        }
    }
    client.assert_refused("431", "too-large");

    let mut client = server.connect();
    client.send(format!("GET / HTTP/1.1\r\n{}\r\n", "a:b\r\n".repeat(101)));
    client.assert_refused("431", "too-large");

    let mut client = server.connect();
    client.send(format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000)));
    client.assert_refused("431", "too-large");
}

#[test]
fn headers_that_do_not_end_are_refused_in_the_end() {
    // Long enough for a request that is written at once, on any machine.
    let limits = Limits { header_read: Duration::from_secs(3), ..Limits::default() };
    let server = Server::start(limits);
    let mut half = server.connect();
    half.send("GET / HTTP/1.1\r\nhost: ");
    let mut silent = server.connect();
    let mut idle = server.connect();
    idle.send("GET /length HTTP/1.1\r\n\r\n");
    assert_eq!(idle.answer().1, "0");

    half.assert_refused("408", "timed-out");
    // One that has sent nothing, or nothing more, gets nothing.
    silent.assert_closed();
    idle.assert_closed();
}

#[test]
fn a_body_that_does_not_end_is_refused_in_the_end() {
    let limits = Limits { body_read: Duration::from_millis(50), ..Limits::default() };
    let server = Server::start(limits);
    let mut client = server.connect();
    client.send("PUT /length HTTP/1.1\r\ncontent-length: 10\r\n\r\nhalf");
    client.assert_refused("408", "timed-out");
}

#[test]
fn a_client_that_reads_nothing_of_its_answer_is_left() {
    let limits = Limits { write_stall: Duration::from_millis(50), ..Limits::default() };
    let server = Server::start(limits);
    let mut client = server.connect();
    client.send("GET /large HTTP/1.1\r\n\r\n");
    // The end of sending is seen only when the server has closed its side.
    client.stream.set_write_timeout(Some(PATIENCE)).unwrap();
    while client.stream.write(b"GET / HTTP/1.1\r\n\r\n").is_ok() {}
    let mut received = Vec::new();
    let _ = std::io::Read::read_to_end(&mut client.stream, &mut received);
    assert!(!received.is_empty() && received.len() < 8 * 1024 * 1024, "{}", received.len());
}

#[test]
fn random_bytes_leave_a_server_that_answers() {
    let limits = Limits {
        body_read: Duration::from_millis(20),
        linger: Duration::from_millis(20),
        ..Limits::default()
    };
    let server = Server::start(limits);
    let pieces: [&[u8]; 12] = [
        b"GET ",
        b"PUT ",
        b"/echo",
        b" HTTP/1.1",
        b"\r\n",
        b"\r\n\r\n",
        b"content-length: ",
        b"7",
        b"transfer-encoding: chunked",
        b"99999999999999999999",
        b"%",
        b"?",
    ];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2000 {
        let mut client = server.connect();
        for _ in 0..random.below(12) {
            let bytes = if random.below(3) == 0 {
                (0..random.below(40)).map(|_| random.below(255)).collect()
            } else {
                pieces[usize::from(random.below(12))].to_vec()
            };
            if client.stream.write_all(&bytes).is_err() {
                break;
            }
        }
    }
    server.assert_answers();
}

/// Marsaglia's xorshift64: the same numbers in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u8) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u8::try_from(self.0 % u64::from(end)).unwrap()
    }
}
