//! A folder with a configuration, a passphrase and a repository, and the binary run on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// One test's world. Everything is below one temporary folder.
pub(crate) struct Fixture {
    folder: TempDir,
}

/// How a run of the binary ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Fixture {
    /// Without a repository.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            "state_dir = {:?}\nruntime_dir = {:?}\ncache_dir = {:?}\n",
            at("state"),
            at("runtime"),
            at("cache")
        );
        fs::write(folder.path().join("config.toml"), config).unwrap();
        fs::write(folder.path().join("password"), "open sesame\n").unwrap();
        Self { folder }
    }

    /// With a repository at [`url`](Self::url).
    pub(crate) fn new() -> Self {
        let fixture = Self::empty();
        fixture.run(&["repo", "init", &fixture.url()]).succeeded();
        fixture
    }

    /// A path below the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as an argument.
    pub(crate) fn arg(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.path("repository").display())
    }

    /// An image file of these bytes.
    pub(crate) fn image(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.arg(name)
    }

    /// The binary with this fixture's configuration and passphrase, and nothing else of the host's.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_without_passphrase(
            &[&["--password-file", &self.arg("password")], args].concat(),
        )
    }

    /// As [`command`](Self::command), without the passphrase.
    pub(crate) fn command_without_passphrase(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thinmover"));
        command.args(["--config", &self.arg("config.toml")]).args(args).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&mut self.command(args))
    }

    /// A job in the process, on the fixture's repository, with `--json`.
    pub(crate) fn job(&self, args: &[&str]) -> Ran {
        self.run(&[args, &["--standalone", "--json", "--repo", &self.url()]].concat())
    }

    /// Backs an image up and returns the backup's id.
    pub(crate) fn back_up(&self, source: &str) -> String {
        let report = self.job(&["backup", "create", source]).json();
        report["id"].as_str().unwrap().to_owned()
    }

    /// The ids of the listed backups, oldest first.
    pub(crate) fn listed(&self) -> Vec<String> {
        let list = self.job(&["backup", "list"]).json();
        let backups = list["backups"].as_array().unwrap();
        backups.iter().map(|backup| backup["id"].as_str().unwrap().to_owned()).collect()
    }

    /// The repository's objects whose key has a part of this name: `pack`, `index`, `outcome`.
    pub(crate) fn objects(&self, part: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.path("repository"), &mut found);
        found.retain(|path| path.components().any(|name| name.as_os_str() == part));
        found
    }
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }

    /// The one JSON document on stdout of a run that succeeded.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        self.succeeded().document()
    }

    /// The one JSON document on stdout, however the run ended.
    #[track_caller]
    pub(crate) fn document(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Checks that the run failed in this way, and that the message names `about`.
    #[track_caller]
    pub(crate) fn failed(self, exit: i32, code: &str, about: &str) -> Self {
        let document = self.document();
        assert_eq!(
            (self.code, document["error"]["code"].as_str()),
            (exit, Some(code)),
            "{self:#?}"
        );
        let message = document["error"]["message"].as_str().unwrap();
        assert!(message.contains(about), "{message:?} does not name {about:?}");
        self
    }
}

/// Bytes that neither compress nor repeat, different for each seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect(&path, found) } else { found.push(path) }
    }
}
