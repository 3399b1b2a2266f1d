//! The socket that callers connect to: handed over by systemd, or bound by ourselves.

use std::env;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockopt,
    listen as open, socket, sockopt,
};
use nix::unistd::Gid;

use super::failures::io_failure;
use crate::failure::{Code, Failure, Result};

/// Owner and group may connect, which takes the right to write (unix(7)); nobody else.
const SOCKET_MODE: u32 = 0o660;

/// A socket that callers can connect to.
#[derive(Debug)]
pub(crate) struct Listening {
    /// Non-blocking, as tokio wants it.
    pub(crate) listener: UnixListener,
    /// The socket's file, where we made it; systemd keeps its own.
    pub(crate) file: Option<SocketFile>,
}

/// A socket's file, removed when this is dropped; unless something else is there by then.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Takes the socket that systemd hands over (sd_listen_fds(3)), or else listens at `path`, for root
/// and `group`. To be called once, and before there are threads: it clears what it was told from the
/// environment.
///
/// # Errors
/// `Busy` when somebody listens at `path` already. Anything there but a socket is left alone.
pub(crate) fn listen(path: &Path, group: Option<Gid>) -> Result<Listening> {
    let (listener, file) = match activated()? {
        Some(listener) => (listener, None),
        None => bound(path, group).map(|(listener, file)| (listener, Some(file)))?,
    };
    listener
        .set_nonblocking(true)
        .map_err(|error| io_failure("cannot make the socket non-blocking", &error))?;
    Ok(Listening { listener, file })
}

/// The listening socket from systemd, if it gave us any.
fn activated() -> Result<Option<UnixListener>> {
    let ours = std::process::id().to_string();
    if env::var_os("LISTEN_PID").is_none_or(|pid| pid != *ours) {
        return Ok(None);
    }
    let unfit = |why: String| {
        Failure::new(Code::Failed, format!("the socket that systemd hands over is unfit: {why}"))
            .hint("thinmover.socket needs exactly one ListenStream=, the path of a unix socket")
    };
    let mut handed_over = ListenFd::from_env();
    match handed_over.len() {
        0 => return Ok(None),
        1 => (),
        several => return Err(unfit(format!("there are {several}"))),
    }
    let listener = handed_over
        .take_unix_listener(0)
        .map_err(|error| unfit(error.to_string()))?
        .ok_or_else(|| unfit("it is gone".to_owned()))?;
    match getsockopt(&listener, sockopt::AcceptConn) {
        Ok(true) => Ok(Some(listener)),
        Ok(false) => Err(unfit("it is not listening".to_owned())),
        Err(errno) => Err(unfit(errno.to_string())),
    }
}

/// Binds at `path`. Before listen(2) every connection is refused, so mode and group are set between
/// bind(2) and that: there is no moment at which somebody else could connect, and the process-wide
/// umask is left alone.
fn bound(path: &Path, group: Option<Gid>) -> Result<(UnixListener, SocketFile)> {
    make_folder(path)?;
    let failed =
        |error: io::Error| io_failure(format!("cannot listen at {}", path.display()), &error);
    let address = UnixAddr::new(path).map_err(|errno| failed(errno.into()))?;
    let bind_new = || {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        bind(socket.as_raw_fd(), &address).map(|()| socket)
    };
    let socket = match bind_new() {
        Err(Errno::EADDRINUSE) => {
            remove_stale(path, &address)?;
            bind_new()
        }
        other => other,
    }
    .map_err(|errno| failed(errno.into()))?;
    let file = SocketFile::at(path).map_err(failed)?;
    chown(path, None, group.map(Gid::as_raw)).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
    open(&socket, Backlog::MAXCONN).map_err(|errno| failed(errno.into()))?;
    Ok((socket.into(), file))
}

/// Makes the folder of `path` where it is missing: everybody may look into it, whatever our umask.
fn make_folder(path: &Path) -> Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.exists()) else { return Ok(()) };
    fs::create_dir_all(folder)
        .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o755)))
        .map_err(|error| io_failure(format!("cannot create {}", folder.display()), &error))
}

/// Removes the socket file of an agent that is dead: one at which nobody listens. Two agents cannot
/// do this at once, each holds its `AgentLock` by then.
fn remove_stale(path: &Path, address: &UnixAddr) -> Result<()> {
    let shown = path.display();
    let failed = |error: io::Error| io_failure(format!("cannot listen at {shown}"), &error);
    if !fs::symlink_metadata(path).map_err(failed)?.file_type().is_socket() {
        return Err(Failure::new(Code::Exists, format!("{shown} is there and is not a socket"))
            .hint("move it away, or give the agent another `runtime_dir`"));
    }
    // Non-blocking: a listener whose queue is full answers EAGAIN instead of keeping us.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)
        .map_err(|errno| failed(errno.into()))?;
    match connect(probe.as_raw_fd(), address) {
        Err(Errno::ECONNREFUSED) => fs::remove_file(path).map_err(failed),
        // EPROTOTYPE: a socket of another type.
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Err(Failure::new(
            Code::Busy,
            format!("systemd or another agent listens at {shown}"),
        )
        .hint(
            "`systemctl start thinmover.service` runs the agent on systemd's socket; to run one by \
             hand, stop thinmover.socket and thinmover.service first",
        )),
        Err(errno) => Err(failed(errno.into())),
    }
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if ours {
            // What stays is a stale socket, which the next agent replaces.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::{UnixDatagram, UnixStream};
    use std::process::{Command, Stdio};

    use nix::unistd::{geteuid, getgid};

    use super::super::testing;
    use super::*;

    fn connects(path: &Path) -> bool {
        UnixStream::connect(path).is_ok()
    }

    #[test]
    fn a_socket_of_our_own_is_for_owner_and_group_and_goes_when_we_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/api.sock");
        // Root may give a file to any group, others to their own.
        let group = if geteuid().is_root() { Gid::from_raw(1) } else { getgid() };
        let listening = listen(&path, Some(group)).unwrap();
        assert!(connects(&path));
        assert!(listening.listener.accept().is_ok());
        assert_eq!(listening.listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o660, 0o755));
        assert_eq!(fs::metadata(&path).unwrap().gid(), group.as_raw());
        drop(listening);
        assert!(!path.exists());
    }

    #[test]
    fn a_bound_socket_refuses_everybody_until_it_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        let bound =
            socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(bound.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        let refused = UnixStream::connect(&path).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists() && !connects(&path));
        let _listening = listen(&path, None).unwrap();
        assert!(connects(&path));
    }

    #[test]
    fn a_socket_that_answers_is_somebody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        let other = UnixListener::bind(&path).unwrap();
        let refused = listen(&path, None).unwrap_err();
        assert_eq!(refused.code, Code::Busy);
        assert!(refused.message.contains("systemd or another agent listens at"), "{refused}");
        assert!(connects(&path));
        drop(other);
        fs::remove_file(&path).unwrap();
        let _datagrams = UnixDatagram::bind(&path).unwrap();
        assert_eq!(listen(&path, None).unwrap_err().code, Code::Busy);
        assert!(path.exists());
    }

    #[test]
    fn a_listener_too_busy_to_answer_is_not_taken_for_dead() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        let hung =
            socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(hung.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        open(&hung, Backlog::new(0).unwrap()).unwrap();
        // A queue of length 0 still takes one.
        let _waiting = UnixStream::connect(&path).unwrap();
        assert_eq!(listen(&path, None).unwrap_err().code, Code::Busy);
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        fs::write(&path, "precious").unwrap();
        let refused = listen(&path, None).unwrap_err();
        assert!(refused.message.contains("is not a socket"), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert!(listen(&path, None).is_err());
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_a_clear_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d".repeat(120)).join("api.sock");
        let refused = listen(&path, None).unwrap_err();
        assert!(refused.message.contains("cannot listen at"), "{refused}");
        assert!(refused.message.contains("name too long"), "{refused}");
    }

    #[test]
    fn a_file_that_replaced_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        let listening = listen(&path, None).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(listening);
        assert!(connects(&path));
    }

    /// Runs [`child`] with `socket` as the first descriptor from systemd; returns what it says.
    fn activated_with(socket: impl Into<OwnedFd>, environment: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let result = folder.path().join("result");
        let mut shell = Command::new("sh");
        shell.stdin(Stdio::from(socket.into()));
        shell.env("TEST_SOCKET", folder.path().join("own.sock")).env("TEST_RESULT", &result);
        testing::run_child(environment, "daemon::listener::tests::child", shell);
        fs::read_to_string(&result).unwrap()
    }

    #[test]
    #[ignore = "run by the other tests, in an environment of its own"]
    fn child() {
        let path = |name| env::var_os(name).map(PathBuf::from);
        let (Some(socket), Some(answer)) = (path("TEST_SOCKET"), path("TEST_RESULT")) else {
            return;
        };
        let result = match listen(&socket, None) {
            Ok(Listening { listener, file: None }) => {
                let close_on_exec = nix::fcntl::fcntl(&listener, nix::fcntl::F_GETFD).unwrap();
                assert_eq!(close_on_exec, nix::libc::FD_CLOEXEC);
                assert!(env::var_os("LISTEN_FDS").is_none());
                let (mut caller, _) = listener.accept().unwrap();
                caller.write_all(b"hello").unwrap();
                "systemd's".to_owned()
            }
            Ok(Listening { file: Some(_), .. }) => "our own".to_owned(),
            Err(failure) => failure.message,
        };
        fs::write(answer, result).unwrap();
    }

    #[test]
    fn systemds_socket_is_used_where_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        let systemds = UnixListener::bind(&path).unwrap();
        // The caller whose connection made systemd start the agent.
        let mut caller = UnixStream::connect(&path).unwrap();
        assert_eq!(activated_with(systemds, "LISTEN_PID=$$ LISTEN_FDS=1"), "systemd's");
        let mut answer = String::new();
        caller.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "hello");
        assert!(path.exists());
    }

    #[test]
    fn descriptors_for_another_process_are_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        for environment in ["", "LISTEN_FDS=1", "LISTEN_PID=1 LISTEN_FDS=1", "LISTEN_PID=$$"] {
            let path = folder.path().join("api.sock");
            let systemds = UnixListener::bind(&path).unwrap();
            assert_eq!(activated_with(systemds, environment), "our own", "{environment}");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn what_systemd_hands_over_must_be_one_listening_unix_socket() {
        let folder = tempfile::tempdir().unwrap();
        let unfit = |socket: OwnedFd, environment: &str, why: &str| {
            let said = activated_with(socket, environment);
            assert!(said.starts_with("the socket that systemd hands over is unfit"), "{said}");
            assert!(said.contains(why), "{said}");
        };
        let one = "LISTEN_PID=$$ LISTEN_FDS=1";
        let connected = UnixStream::pair().unwrap().0;
        unfit(connected.into(), one, "not listening");
        let datagrams = UnixDatagram::bind(folder.path().join("datagrams")).unwrap();
        unfit(datagrams.into(), one, "not a valid unix stream socket");
        unfit(tempfile::tempfile().unwrap().into(), one, "not a socket");
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        unfit(tcp.into(), one, "not a valid unix stream socket");
        let listener = UnixListener::bind(folder.path().join("listener")).unwrap();
        unfit(listener.into(), "LISTEN_PID=$$ LISTEN_FDS=2", "there are 2");
    }
}
