//! Real servers that speak S3, started for a test and ended with it. `scripts/install-deps s3`
//! builds them.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The bucket that every server has.
pub(crate) const BUCKET: &str = "backup";
pub(crate) const KEY_ID: &str = "thinmover-test";
pub(crate) const SECRET: &str = "a-secret-of-the-tests";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// versitygw on a directory: checks signatures, and creates if absent in one step.
    Honours,
    /// An early gofakes3 in memory: takes `If-None-Match` and overwrites.
    Ignores,
}

impl Kind {
    /// As `scripts/install-deps` names it.
    fn program(self) -> &'static str {
        match self {
            Self::Honours => "versitygw-v1.8.0",
            Self::Ignores => "gofakes3-v0.0.0-20240701191259-edd0227ffc37",
        }
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    dir: TempDir,
    is_tls: bool,
}

impl Server {
    pub(crate) fn start(kind: Kind) -> Self {
        Self::start_with(kind, None)
    }

    /// With TLS, by a certificate and its key in PEM files.
    pub(crate) fn start_tls(certificate: &Path, key: &Path) -> Self {
        Self::start_with(Kind::Honours, Some((certificate, key)))
    }

    fn start_with(kind: Kind, tls: Option<(&Path, &Path)>) -> Self {
        let program = installed(kind.program());
        let dir = tempfile::tempdir().unwrap();
        for folder in [&format!("data/{BUCKET}"), "meta"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let credentials =
            format!("[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n");
        fs::write(dir.path().join("credentials"), credentials).unwrap();
        // A free port may be taken by another until the server has it.
        for _ in 0..5 {
            let address = free_address();
            let mut child = command(&program, kind, address, dir.path(), tls).spawn().unwrap();
            if answers(&mut child, address) {
                return Self { child, address, dir, is_tls: tls.is_some() };
            }
            let _ = child.kill();
            child.wait().unwrap();
        }
        let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        panic!("{} does not start: {log}", program.display());
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn endpoint(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub(crate) fn credentials_file(&self) -> PathBuf {
        self.dir.path().join("credentials")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(
    program: &Path,
    kind: Kind,
    address: SocketAddr,
    dir: &Path,
    tls: Option<(&Path, &Path)>,
) -> Command {
    let mut command = Command::new(program);
    let log = fs::File::create(dir.join("log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    match kind {
        Kind::Honours => {
            command.env("ROOT_ACCESS_KEY_ID", KEY_ID).env("ROOT_SECRET_ACCESS_KEY", SECRET);
            command.args(["--keep-alive", "--quiet", "--port", &address.to_string()]);
            if let Some((certificate, key)) = tls {
                command.arg("--cert").arg(certificate).arg("--key").arg(key);
            }
            command.arg("posix").arg("--sidecar").arg(dir.join("meta")).arg(dir.join("data"));
        }
        Kind::Ignores => {
            command.args(["-quiet", "-backend", "memory", "-initialbucket", BUCKET]);
            command.args(["-host", &address.to_string()]);
        }
    }
    command
}

fn installed(name: &str) -> PathBuf {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap());
    let program = home.join(".cache/thinmover-s3").join(name);
    assert!(
        program.exists(),
        "{} is not there: `make test` installs it, or `scripts/install-deps s3` alone",
        program.display()
    );
    program
}

fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

fn answers(child: &mut Child, address: SocketAddr) -> bool {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(30) {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if TcpStream::connect(address).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}
