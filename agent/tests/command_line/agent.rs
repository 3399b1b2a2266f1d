//! An agent that was started by hand, on image files.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, geteuid, mkfifo};
use serde_json::Value;

use crate::fixture::{Fixture, Ran, noise};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A fixture whose repository is the default of an agent that runs. Killed when dropped.
pub(crate) struct Agent {
    pub(crate) fixture: Fixture,
    process: Child,
}

impl Agent {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// With more in the configuration.
    fn start_with(more: &str) -> Self {
        let fixture = Fixture::new();
        let config = fixture.path("config.toml");
        let text = format!(
            "default_repository = \"home\"\n{}\
             [repositories.home]\nurl = {:?}\npassword_file = {:?}\n\
             [access.admin]\nusers = [{}]\n{more}",
            fs::read_to_string(&config).unwrap(),
            fixture.url(),
            fixture.arg("password"),
            geteuid(),
        );
        fs::write(&config, text).unwrap();
        let process = spawn(&fixture);
        let agent = Self { fixture, process };
        agent.wait_until_it_answers();
        agent
    }

    fn start_again(&mut self) {
        self.process = spawn(&self.fixture);
        self.wait_until_it_answers();
    }

    fn wait_until_it_answers(&self) {
        wait_until("the agent answers", || self.ask(&["status"]).code != 1);
    }

    pub(crate) fn ask(&self, words: &[&str]) -> Ran {
        self.fixture.run(&[words, &["--json"]].concat())
    }

    /// Asks the API itself. Returns the status and the document.
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let socket = self.fixture.path("runtime").join("api.sock");
        let mut stream = UnixStream::connect(socket).unwrap();
        let body = body.to_string();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, document) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(document).unwrap())
    }

    /// A job that goes on until somebody ends it: there is a terabyte to read. Returns its id.
    fn long_job(&self) -> String {
        let source = self.fixture.arg("long");
        fs::File::create(&source).unwrap().set_len(1 << 40).unwrap();
        let submitted = self.ask(&["backup", "create", &source, "--detach"]).json();
        let job = submitted[0]["job"].as_str().unwrap().to_owned();
        self.wait_for_phase(&job, "InProgress");
        job
    }

    fn job(&self, id: &str) -> Value {
        self.ask(&["job", "show", id]).json()
    }

    pub(crate) fn wait_for_phase(&self, job: &str, phase: &str) {
        wait_until(phase, || self.job(job)["phase"] == phase);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where a service stands: at the root of the file tree.
fn spawn(fixture: &Fixture) -> Child {
    let mut command = fixture.command(&["agent"]);
    command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn send(process: &Child, signal: Signal) {
    kill(Pid::from_raw(process.id().try_into().unwrap()), signal).unwrap();
}

#[test]
fn a_relative_path_is_meant_from_where_the_command_line_stands() {
    let agent = Agent::start();
    let fixture = &agent.fixture;
    let content = noise(1, 10_000);
    let source = fixture.image("source", &content);
    let from_there = |words: &[&str]| {
        let mut command = fixture.command(words);
        Ran::of(command.arg("--json").current_dir(fixture.path("")))
    };
    let report = from_there(&["backup", "create", "./source"]).json();
    assert_eq!(report["source"], source);
    from_there(&["restore", "latest", "./target", "--source", "./source"]).succeeded();
    assert!(fs::read(fixture.path("target")).unwrap() == content);
    let listed = from_there(&["backup", "list", "--source", "./source"]).json();
    assert_eq!(listed["backups"].as_array().unwrap().len(), 1);
    from_there(&["backup", "create", "./none"]).failed(3, "not-found", &fixture.arg("none"));
}

#[test]
fn the_agent_says_how_it_is_while_requests_hang() {
    let pipes = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (first, second) = (pipes.path().join("first"), pipes.path().join("second"));
    let hangs = |name: &str, file: &Path| {
        mkfifo(file, Mode::S_IRWXU).unwrap();
        format!(
            "[repositories.{name}]\nurl = \"file:///nowhere/{name}\"\npassword_file = {file:?}\n"
        )
    };
    let more = hangs("first", &first) + &hangs("second", &second);
    let agent = Agent::start_with(&more);
    let list = |name: &str| {
        let mut command = agent.fixture.command(&["backup", "list", "--repo", name]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    // One that hangs keeps nobody from another repository.
    let mut hanging = vec![list("first")];
    thread::sleep(Duration::from_millis(500));
    agent.ask(&["backup", "list"]).succeeded();
    // More than there are threads.
    hanging.extend((0..20).map(|_| list("second")));
    thread::sleep(Duration::from_secs(1));
    assert!(agent.ask(&["status"]).document()["version"].is_string());
    agent.ask(&["job", "list"]).succeeded();
    assert!(hanging.iter_mut().all(|process| process.try_wait().unwrap().is_none()));
    drop(agent);
    for mut process in hanging {
        process.wait().unwrap();
    }
}

#[test]
fn a_backup_that_cannot_be_read_is_deleted_by_the_agent() {
    let agent = Agent::start();
    let source = agent.fixture.image("source", &noise(1, 1000));
    let report = agent.ask(&["backup", "create", &source]).json();
    let id = report["id"].as_str().unwrap();
    let outcome = &agent.fixture.objects("outcome")[0];
    let bytes = fs::read(outcome).unwrap();
    fs::remove_file(outcome).unwrap();
    fs::write(outcome, &bytes[..bytes.len() / 2]).unwrap();
    agent.ask(&["backup", "show", id]).failed(1, "damaged", id);
    agent.ask(&["backup", "delete", &id[..8]]).failed(4, "confirmation-needed", "cannot be read");
    let deleted = agent.ask(&["backup", "delete", &id[..8], "--yes"]).json();
    assert_eq!(deleted["id"], id);
    assert!(agent.fixture.objects("retention").len() == 1);
    agent.ask(&["backup", "create", &source]).succeeded();
}

#[test]
fn a_command_line_that_is_killed_leaves_its_job_alone() {
    let agent = Agent::start();
    let source = agent.fixture.arg("source");
    fs::File::create(&source).unwrap().set_len(1 << 40).unwrap();
    let mut command = agent.fixture.command(&["backup", "create", &source]);
    let mut command = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let running = || agent.ask(&["status"]).document()["jobs"].clone();
    wait_until("the job runs", || running()[0]["phase"] == "InProgress");
    let job = running()[0]["id"].as_str().unwrap().to_owned();
    command.kill().unwrap();
    command.wait().unwrap();
    let done = |job: &Value| job["progress"]["bytesDone"].as_u64().unwrap();
    let then = done(&agent.job(&job));
    wait_until("it has gone on", || done(&agent.job(&job)) > then);
    assert_eq!(agent.job(&job)["phase"], "InProgress");
    agent.ask(&["job", "cancel", &job]).succeeded();
    agent.wait_for_phase(&job, "Canceled");
}

#[test]
fn an_agent_that_is_told_to_end_ends_its_job_and_says_why() {
    let mut agent = Agent::start();
    let job = agent.long_job();
    send(&agent.process, Signal::SIGTERM);
    assert_eq!(agent.process.wait().unwrap().code(), Some(0));
    agent.start_again();
    let ended = agent.job(&job);
    assert_eq!((&ended["phase"], &ended["reason"]), (&"Canceled".into(), &"canceled".into()));
    assert!(ended["message"].as_str().unwrap().contains("stopping"), "{ended}");
    let listed = agent.ask(&["backup", "list"]).json();
    assert!(listed["backups"].as_array().unwrap().is_empty(), "{listed}");
}
