//! The socket under a connection, as hyper sees it.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::{Sleep, sleep};

use super::exchange::Exchange;

/// What a client sent after its last answer is read this far before the socket is closed.
const DRAINED_BYTES: usize = 4 * 1024 * 1024;

/// A socket that tells when an answer is out, gives up on a client that reads nothing, and keeps
/// back what hyper writes while no request is under way: its own answers to malformed requests,
/// which have no body. The connection's owner writes them with one.
pub(super) struct Wire {
    stream: UnixStream,
    exchange: Arc<Exchange>,
    write_stall: Duration,
    /// Runs while bytes wait for the client to read.
    stalled: Option<Pin<Box<Sleep>>>,
    peer_ended: bool,
}

impl Wire {
    pub(super) fn new(stream: UnixStream, exchange: Arc<Exchange>, write_stall: Duration) -> Self {
        Self { stream, exchange, write_stall, stalled: None, peer_ended: false }
    }

    /// Writes bytes past hyper, which must be done with the connection.
    ///
    /// # Errors
    /// What write(2) reports.
    pub(super) async fn write_last(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends the connection so that the client gets all of its answer. Closing a unix socket with
    /// unread bytes resets the connection (unix_release_sock of the kernel's net/unix/af_unix.c): a
    /// client that still sends sees an error before it has read. So this end says first that it has
    /// no more to say, then reads on until the client has no more to say either, and a bounded amount.
    ///
    /// # Errors
    /// What shutdown(2) and read(2) report.
    pub(super) async fn linger(mut self) -> io::Result<()> {
        poll_fn(|context| Pin::new(&mut self.stream).poll_shutdown(context)).await?;
        let mut scrap = vec![0; 64 * 1024];
        let mut drained_bytes = 0;
        while !self.peer_ended && drained_bytes < DRAINED_BYTES {
            self.stream.readable().await?;
            match self.stream.try_read(&mut scrap) {
                Ok(0) => self.peer_ended = true,
                Ok(count) => drained_bytes += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            // A client that sends without a pause is no reason to keep the others waiting.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// The result of a write, or an error where the client has read nothing for too long.
    fn watched<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let write_stall = self.write_stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(write_stall)));
        stalled.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let had_room = buffer.remaining() > 0;
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if had_room && buffer.filled().len() == before && matches!(read, Poll::Ready(Ok(()))) {
            self.peer_ended = true;
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.exchange.is_under_way() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watched(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.exchange.is_under_way() {
            return Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.watched(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when nothing is left in its own buffers.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.exchange.written();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
