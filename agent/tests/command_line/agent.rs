//! An agent that was started by hand, on image files.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::sys::stat::Mode;
use nix::unistd::{geteuid, mkfifo};

use crate::fixture::{Fixture, Ran, noise};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A fixture whose repository is the default of an agent that runs. Killed when dropped.
struct Agent {
    fixture: Fixture,
    process: Child,
}

impl Agent {
    fn start() -> Self {
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

    fn wait_until_it_answers(&self) {
        wait_until("the agent answers", || self.ask(&["status"]).code != 1);
    }

    fn ask(&self, words: &[&str]) -> Ran {
        self.fixture.run(&[words, &["--json"]].concat())
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
    assert!(agent.fixture.objects("tomb").len() == 1);
    agent.ask(&["backup", "create", &source]).succeeded();
}
