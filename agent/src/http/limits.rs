//! What one client may cost the others.

use std::io;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The most bytes of a request line with its headers; beyond it the answer is 431.
pub(super) const HEAD_BYTES: usize = 16 * 1024;

/// Open files the rest of the process may need: what it has by default, see setrlimit(2).
const OTHER_OPEN_FILES: u64 = 1024;

/// Bounds of the server. What crosses one is answered with an error or closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most bytes of one request's body.
    pub(crate) body_bytes: usize,
    /// The most bytes of bodies that are still coming in, all connections together. Past it the
    /// connection that has waited longest with a part of a body is closed.
    pub(crate) bodies_bytes: usize,
    /// How long a request line with its headers may take, and how long a connection may be idle.
    pub(crate) header_read: Duration,
    /// How long a request's body may take.
    pub(crate) body_read: Duration,
    /// How long a client may leave the next byte of its answer unread.
    pub(crate) write_stall: Duration,
    /// How long what a client still sends after its last answer is read and thrown away.
    pub(crate) linger: Duration,
    /// How long answers in progress may take once the server was told to stop.
    pub(crate) stop_grace: Duration,
    /// The most connections at one time.
    pub(crate) connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            bodies_bytes: 16 * 1024 * 1024,
            header_read: Duration::from_secs(10),
            body_read: Duration::from_secs(30),
            write_stall: Duration::from_secs(30),
            linger: Duration::from_secs(1),
            stop_grace: Duration::from_secs(5),
            connections: 1024,
        }
    }
}

/// Raises the soft limit of open files to what `connections` need beside the rest of the process,
/// as far as the hard limit allows. Returns the soft limit afterwards, which is never lower than
/// before. Programs that are started later inherit it.
///
/// # Errors
/// What getrlimit(2) and setrlimit(2) report.
pub(crate) fn raise_open_files(connections: usize) -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = OTHER_OPEN_FILES.saturating_add(connections as u64).min(hard);
    if wanted <= soft {
        return Ok(soft);
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
    Ok(wanted)
}
