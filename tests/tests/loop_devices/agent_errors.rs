//! What is wrong around the agent, and that it says so: what, why, and what to do next.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;
use serde_json::Value;
use thinmover_tests::fixtures::{Finished, run};

use crate::job::{Host, signal};
use crate::service::{Service, can_run, wait_for_journal, wait_until};

const THINMOVER: &str = "/usr/bin/thinmover";
const SOCKET: &str = "/run/thinmover/api.sock";

pub(crate) fn trials() -> Vec<Trial> {
    let ignored = !can_run();
    [
        Trial::test("an_agent_by_hand_needs_no_group_and_replaces_a_dead_ones_socket", by_hand),
        Trial::test("what_the_service_cannot_read_or_take_is_said", refused),
    ]
    .map(|trial| trial.with_ignored_flag(ignored))
    .into()
}

fn by_hand() -> Result<(), Failed> {
    let without = WithoutGroup::new();
    // systemd's socket belongs to the group, so there is none without.
    Finished::of(Command::new("systemctl").args(["start", "thinmover.socket"])).expect_status(1);
    wait_for_journal(&["-u", "thinmover.socket", "-o", "cat"], &["group thinmover", "GROUP"]);
    let failed = status(1);
    assert_eq!(failed["error"]["code"], "no-daemon");
    assert!(failed["error"]["hint"].as_str().unwrap().contains("systemctl start"), "{failed}");

    let mut agent = without.start_agent();
    let told = fs::read_to_string(without.stderr()).unwrap();
    assert!(told.contains("group `thinmover` does not exist"), "{told}");
    assert!(told.contains("systemd-sysusers"), "{told}");
    let socket = fs::metadata(SOCKET).unwrap();
    assert_eq!((socket.gid(), socket.mode() & 0o777), (0, 0o660));

    signal(&agent, Signal::SIGKILL);
    agent.wait()?;
    let failed = status(1);
    assert_eq!(failed["error"]["code"], "no-daemon");
    assert!(failed["error"]["message"].as_str().unwrap().contains("nobody listens"), "{failed}");

    let mut agent = without.start_agent();
    assert_ne!(fs::metadata(SOCKET).unwrap().ino(), socket.ino());
    signal(&agent, Signal::SIGTERM);
    assert_eq!(agent.wait()?.code(), Some(0));
    assert!(!Path::new(SOCKET).exists());
    Ok(())
}

#[track_caller]
fn status(expected: i32) -> Value {
    let finished = Finished::of(Command::new(THINMOVER).args(["status", "--json"]));
    serde_json::from_str(&finished.expect_status(expected).stdout).unwrap()
}

/// A host without the group `thinmover`, on which no unit of thinmover runs. It has the group again
/// when this is dropped.
struct WithoutGroup {
    folder: tempfile::TempDir,
}

impl WithoutGroup {
    fn new() -> Self {
        let without = Self { folder: tempfile::tempdir().unwrap() };
        run("systemctl", &["stop", "thinmover.socket", "thinmover.service"]);
        run("groupdel", &["thinmover"]);
        without
    }

    fn stderr(&self) -> PathBuf {
        self.folder.path().join("stderr")
    }

    /// An agent without any configuration that answers.
    fn start_agent(&self) -> Child {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", THINMOVER, "agent"]).stdin(Stdio::null());
        let agent = command.stderr(File::create(self.stderr()).unwrap()).spawn().unwrap();
        wait_until("the agent answers", || {
            // Done with a warning: the group.
            Finished::of(Command::new(THINMOVER).arg("status")).status == 5
        });
        agent
    }
}

impl Drop for WithoutGroup {
    fn drop(&mut self) {
        Finished::of(&mut Command::new("systemd-sysusers"));
        let units = ["reset-failed", "thinmover.socket", "thinmover.service"];
        Finished::of(Command::new("systemctl").args(units));
        let _ = fs::remove_file(SOCKET);
        let _ = fs::remove_dir_all("/var/lib/thinmover");
    }
}

fn refused() -> Result<(), Failed> {
    let service = Service::new(Host::with_ext4());
    let file = service.host.thinmover.password_file();
    let fails = |exit: i32, code: &str| {
        let failed = service.json(exit, &["backup", "create", &service.host.data.name]);
        let text = |key: &str| failed["error"][key].as_str().unwrap();
        assert_eq!(text("code"), code, "{failed}");
        assert!(text("message").contains(file.to_str().unwrap()), "{failed}");
        assert!(text("hint").contains("password_file"), "{failed}");
    };
    fs::remove_file(&file)?;
    fails(3, "not-found");
    fs::create_dir(&file)?;
    fails(1, "failed");
    fs::remove_dir(&file)?;
    fs::write(&file, "\n")?;
    fails(2, "usage");
    let jobs = service.json(0, &["job", "list"]);
    for job in jobs["jobs"].as_array().unwrap() {
        assert_eq!(job["phase"], "Failed", "{job}");
        assert!(job["message"].as_str().unwrap().contains("password file"), "{job}");
    }

    let mut stream = UnixStream::connect(SOCKET)?;
    stream.write_all(b"PUT /v1/uploads/large HTTP/1.1\r\nhost: thinmover\r\n")?;
    stream.write_all(b"content-length: 1073741824\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    for part in ["\"too-large\"", "larger than 1048576 bytes", "\"hint\""] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    assert_eq!(service.json(0, &["job", "list"])["jobs"].as_array().unwrap().len(), 3);
    Ok(())
}
