//! Who is at the other end of a unix socket, as far as only a raw system call tells.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

/// The most supplementary groups a process can have: NGROUPS_MAX of linux/limits.h.
const GROUPS_MAX: usize = 65536;

/// What most processes stay below, so that one call is enough.
const GROUPS_USUAL: usize = 64;

/// The supplementary group ids that the peer of a connected unix stream socket (or of a pair) had
/// when it connected: SO_PEERGROUPS of socket(7), Linux 4.13.
///
/// # Errors
/// What getsockopt(2) reports: ENODATA for a socket without peer credentials (a TCP socket),
/// ENOTSOCK, or ENOPROTOOPT of an older kernel.
pub fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    with_room(socket, GROUPS_USUAL)
}

/// Like [`peer_groups`], with room for `room` groups at first.
fn with_room(socket: BorrowedFd<'_>, mut room: usize) -> io::Result<Vec<u32>> {
    loop {
        let mut groups = vec![0; room];
        match getsockopt::peer_groups(socket, &mut groups) {
            Ok(count) => {
                groups.truncate(count);
                return Ok(groups);
            }
            // The groups of a connected peer do not change, so the second call is the last.
            Err(getsockopt::Failed { errno: Errno::ERANGE, needed })
                if needed > room && needed <= GROUPS_MAX =>
            {
                room = needed;
            }
            Err(failed) => return Err(failed.errno.into()),
        }
    }
}

#[allow(unsafe_code)]
mod getsockopt {
    use std::os::fd::{AsRawFd, BorrowedFd};

    use nix::errno::Errno;

    pub(super) struct Failed {
        pub(super) errno: Errno,
        /// With ERANGE: how many groups there are.
        pub(super) needed: usize,
    }

    /// Fills `groups` from its start and says how many there are.
    pub(super) fn peer_groups(
        socket: BorrowedFd<'_>,
        groups: &mut [libc::gid_t],
    ) -> Result<usize, Failed> {
        let Ok(mut length_bytes) = libc::socklen_t::try_from(size_of_val(groups)) else {
            return Err(Failed { errno: Errno::EINVAL, needed: 0 });
        };
        // SAFETY: the kernel writes at most `length_bytes` bytes, which is the size of `groups`,
        // group ids of which every bit pattern is valid, and then `length_bytes` itself; it keeps
        // neither pointer. `socket` is borrowed, hence open.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length_bytes,
            )
        };
        let count = length_bytes as usize / size_of::<libc::gid_t>();
        Errno::result(result).map_err(|errno| Failed { errno, needed: count })?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use nix::unistd::getgroups;

    #[test]
    fn the_groups_of_a_peer_are_those_the_process_has() {
        let (socket, _peer) = UnixStream::pair().unwrap();
        let own: Vec<u32> = getgroups().unwrap().into_iter().map(|group| group.as_raw()).collect();
        for room in [0, 1, GROUPS_USUAL] {
            let mut groups = with_room(socket.as_fd(), room).unwrap();
            let mut own = own.clone();
            groups.sort_unstable();
            own.sort_unstable();
            assert_eq!(groups, own, "with room for {room} at first");
        }
    }

    #[test]
    fn a_socket_without_peer_credentials_is_an_error() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = peer_groups(socket.as_fd()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODATA));
    }
}
