//! Who called.

use std::io;
use std::os::fd::AsFd;

use tokio::net::UnixStream;

/// The credentials a process had when it connected, from the kernel: SO_PEERCRED and SO_PEERGROUPS
/// of socket(7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The effective user id.
    pub(crate) uid: u32,
    /// The effective group id.
    pub(crate) gid: u32,
    /// The process id; none where it is not visible from this pid namespace.
    pub(crate) pid: Option<i32>,
    /// The supplementary group ids.
    pub(crate) groups: Vec<u32>,
}

impl Peer {
    /// Reads the credentials of a connected socket's other end.
    ///
    /// # Errors
    /// What getsockopt(2) reports.
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self {
            uid: credentials.uid(),
            gid: credentials.gid(),
            // The kernel says 0 for a process outside this namespace, see pid_namespaces(7).
            pid: credentials.pid().filter(|pid| *pid > 0),
            groups: thinmover_io::peer_groups(stream.as_fd())?,
        })
    }
}
