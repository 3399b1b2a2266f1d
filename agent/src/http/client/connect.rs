//! Gets through to the socket, or says what to do about it.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

use crate::failure::{Code, Failure, Result};

/// How long an agent may leave the queue of its socket full.
const FULL_QUEUE: Duration = Duration::from_secs(10);

/// How long until a full queue is tried again: nothing tells when it has room, see connect(2).
const QUEUE_PAUSE: Duration = Duration::from_millis(20);

/// Connects to the agent's socket.
///
/// # Errors
/// `NoDaemon` where nobody listens there, `PermissionDenied` where the caller may not connect.
pub(super) async fn connect(socket: &Path) -> Result<UnixStream> {
    let deadline = Instant::now() + FULL_QUEUE;
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline =>
            {
                sleep(QUEUE_PAUSE).await;
            }
            Err(error) => return Err(failure(socket, &error)),
        }
    }
}

fn failure(socket: &Path, error: &io::Error) -> Failure {
    const START: &str = "start it: systemctl start thinmover.socket, \
                         or add --standalone to do the job in this process";
    let socket = socket.display();
    match error.kind() {
        io::ErrorKind::NotFound => Failure::new(
            Code::NoDaemon,
            format!("no agent is running: there is no socket {socket}"),
        )
        .hint(START),
        io::ErrorKind::ConnectionRefused => Failure::new(
            Code::NoDaemon,
            format!("no agent is running: nobody listens at the socket {socket}"),
        )
        .hint(START),
        io::ErrorKind::PermissionDenied => Failure::new(
            Code::PermissionDenied,
            format!("no permission to connect to the agent's socket {socket}"),
        )
        .hint("run as root or as a member of the group thinmover"),
        io::ErrorKind::WouldBlock => Failure::new(
            Code::NoDaemon,
            format!("the agent at {socket} has taken no connection for {FULL_QUEUE:?}"),
        )
        .hint("see `journalctl -u thinmover`"),
        _ => Failure::new(
            Code::NoDaemon,
            format!("cannot connect to the agent's socket {socket}: {error}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_names_the_socket_and_what_to_do() {
        use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied, WouldBlock};
        for (kind, code, hint) in [
            (NotFound, Code::NoDaemon, "systemctl start thinmover.socket"),
            (ConnectionRefused, Code::NoDaemon, "--standalone"),
            (PermissionDenied, Code::PermissionDenied, "group thinmover"),
            (WouldBlock, Code::NoDaemon, "journalctl -u thinmover"),
        ] {
            let failure = failure(Path::new("/run/x.sock"), &kind.into());
            assert_eq!(failure.code, code, "{kind:?}");
            assert!(failure.message.contains("/run/x.sock"), "{failure}");
            assert!(failure.hint.as_ref().unwrap().contains(hint), "{failure:?}");
        }
    }
}
