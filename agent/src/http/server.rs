//! Takes connections.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use nix::errno::Errno;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::{sleep, timeout};

use super::body::stopped;
use super::connection;
use super::places::Places;
use super::{Handler, Limits};
use crate::failure::{Code, Failure};

/// How long no connection is taken after one could not be: nothing tells when that would change.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` turns true. Then no connection is taken any more, those that wait are
/// closed, feeds end, and answers in progress have `limits.stop_grace` to get out.
pub(crate) async fn serve<H: Handler>(
    listener: UnixListener,
    handler: Arc<H>,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Places::new(&limits));
    let mut connections = JoinSet::new();
    let mut told = false;
    let stop_asked = stopped(stop.clone());
    tokio::pin!(stop_asked);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop_asked => break,
            Some(ended) = connections.join_next() => {
                note(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                told = false;
                if let Some(place) = places.take() {
                    let (handler, stop) = (Arc::clone(&handler), stop.clone());
                    connections.spawn(connection::run(stream, place, handler, limits, stop));
                } else {
                    refuse(stream);
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    log::warn!("a connection cannot be taken, trying on: {error}");
                }
                if is_lack_of_files(&error) && places.evict_oldest() {
                    // Its task closes it.
                    yield_now().await;
                } else {
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    places.evict_all();
    let answers = async {
        while let Some(ended) = connections.join_next().await {
            note(ended);
        }
    };
    if timeout(limits.stop_grace, answers).await.is_err() {
        log::warn!("{} answers in progress are cut off", connections.len());
        connections.shutdown().await;
    }
}

/// EMFILE or ENFILE of accept(2), which one connection less can end.
fn is_lack_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE))
}

fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        log::error!("a connection's task ended early: {error}");
    }
}

/// Tells a client that every place is taken by one that is being answered.
fn refuse(stream: UnixStream) {
    let failure = Failure::new(Code::Busy, "the agent is answering as many clients as it can")
        .hint("try again later");
    let answer = connection::written_out(StatusCode::SERVICE_UNAVAILABLE, &failure);
    // The socket's buffer is empty and takes it at once.
    let _ = stream.into_std().and_then(|mut stream| stream.write_all(&answer));
}
