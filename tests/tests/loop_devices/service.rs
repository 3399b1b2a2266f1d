//! The agent as systemd runs it, with a pool, a mounted volume and a configured repository.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use thinmover_tests::fixtures::{CRASH_BINARY, Finished, HostState, run};
use thinmover_tests::loop_devices::is_guest;

use crate::job::Host;

const INSTALLED: &str = "/usr/lib/systemd/system/thinmover.service";
const CONFIG: &str = "/etc/thinmover/config.toml";
const DROP_IN: &str = "/run/systemd/system/thinmover.service.d/test.conf";
pub(crate) const STATE: &str = "/var/lib/thinmover";
/// Longer than anything takes in an emulated guest on a busy host.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether trials may use the units: in the test guest, and on a host where they are installed and not
/// in use.
pub(crate) fn can_run() -> bool {
    is_guest()
        || Path::new(INSTALLED).exists()
            && !Path::new(CONFIG).exists()
            && !Path::new(STATE).join("host-id").exists()
}

/// Waits until the journal has one of these texts among the entries that `words` select.
#[track_caller]
pub(crate) fn wait_for_journal(words: &[&str], texts: &[&str]) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        run("journalctl", &["--sync"]);
        let journal = run("journalctl", &[words, &["-q", "-n", "100"]].concat());
        if texts.iter().any(|text| journal.contains(text)) {
            return journal;
        }
        assert!(Instant::now() < deadline, "the journal does not tell of {texts:?}:\n{journal}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The installed agent. Stopped, with its state removed, when dropped.
pub(crate) struct Service {
    pub(crate) host: Host,
}

impl Service {
    /// The socket listens, the agent does not run, the repository `test` is the default.
    pub(crate) fn new(host: Host) -> Self {
        let service = Self { host };
        service.configure("");
        run("systemctl", &["daemon-reload"]);
        run("systemctl", &["start", "thinmover.socket"]);
        service
    }

    /// Puts more into the configuration file, after the repository.
    pub(crate) fn configure(&self, toml: &str) {
        fs::create_dir_all("/etc/thinmover").unwrap();
        let thinmover = &self.host.thinmover;
        let text = format!(
            "{toml}\n[repositories.test]\nurl = {:?}\npassword_file = {:?}\n",
            thinmover.repository(),
            thinmover.password_file()
        );
        fs::write(CONFIG, text).unwrap();
    }

    /// Changes the unit.
    pub(crate) fn drop_in(&self, text: &str) {
        fs::create_dir_all(Path::new(DROP_IN).parent().unwrap()).unwrap();
        fs::write(DROP_IN, format!("[Service]\n{text}\n")).unwrap();
        run("systemctl", &["daemon-reload"]);
    }

    /// Stops the agent. The next one is the build with crash points and kills itself at this one;
    /// those after it do not.
    #[track_caller]
    pub(crate) fn die_once_at(&self, point: &str) {
        let binary = std::env::var(CRASH_BINARY).expect("mark the trial with KILLS");
        let marker = self.host.thinmover.scratch().join("killed");
        let shown = marker.display();
        self.drop_in(&format!(
            "ExecStart=\nExecStart=/bin/sh -c '[ -e {shown} ] && exec /usr/bin/thinmover agent; \
             touch {shown}; exec env THINMOVER_CRASH_AT={point} {binary} agent'\nRestartSec=100ms"
        ));
        run("systemctl", &["stop", "thinmover.service"]);
        run("systemctl", &["reset-failed", "thinmover.service"]);
        let _ = fs::remove_file(marker);
    }

    /// Runs the installed command, as a user would.
    pub(crate) fn run(&self, words: &[&str]) -> Finished {
        Finished::of(Command::new("/usr/bin/thinmover").args(words).arg("--json"))
    }

    /// As [`run`](Self::run), with an exit status and the document on its standard output.
    #[track_caller]
    pub(crate) fn json(&self, status: i32, words: &[&str]) -> Value {
        let finished = self.run(words).expect_status(status);
        serde_json::from_str(&finished.stdout).unwrap()
    }

    /// A property of the service, as systemd has it.
    pub(crate) fn property(&self, name: &str) -> String {
        let words = ["show", "--value", "--property", name, "thinmover.service"];
        run("systemctl", &words).trim().to_owned()
    }

    /// The phase a job has ended in; waits for it, also while the agent restarts.
    #[track_caller]
    pub(crate) fn end_of(&self, job: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.run(&["job", "show", job]).stdout;
            let document: Value = serde_json::from_str(&shown).unwrap_or_default();
            if ["Completed", "Failed", "Canceled"].iter().any(|phase| document["phase"] == *phase) {
                return document;
            }
            if Instant::now() > deadline {
                let journal =
                    run("journalctl", &["-u", "thinmover.*", "-o", "short-monotonic", "-n", "60"]);
                panic!("the job does not end: {shown}\n{journal}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Reads and checks every listed backup, and returns how many there are.
    #[track_caller]
    pub(crate) fn verify_all(&self) -> usize {
        self.host.verify_all().len()
    }

    /// The host is as it was, and no job is left that has not ended.
    #[track_caller]
    pub(crate) fn assert_clean(&self, before: &HostState, when: &str) {
        let difference = before.difference(&HostState::now());
        assert!(difference.is_empty(), "{when}:\n{difference}");
        // An agent that has just started may still be at its recovery.
        wait_until(&format!("{when}: no job is left running"), || {
            self.json(0, &["status"])["jobs"].as_array().unwrap().is_empty()
        });
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        for words in [
            &["stop", "thinmover.socket", "thinmover.service"][..],
            &["reset-failed", "thinmover.socket", "thinmover.service"],
        ] {
            Finished::of(Command::new("systemctl").args(words));
        }
        let _ = fs::remove_dir_all("/etc/thinmover");
        let _ = fs::remove_dir_all(STATE);
        let _ = fs::remove_file(DROP_IN);
        Finished::of(Command::new("systemctl").arg("daemon-reload"));
    }
}

#[track_caller]
pub(crate) fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
