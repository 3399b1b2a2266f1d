//! The tools that are compared, one file each: how each is told to do the same job.
//!
//! A peer gives commands, it runs and measures nothing. Each is told to read the whole volume and to
//! keep its holes where it has an option for that, and is otherwise left at its defaults, so that a
//! newcomer would get the same. Passphrases go by file or environment.

mod borg;
mod kopia;
mod restic;
mod rustic;
mod thinmover;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::bucket::Bucket;

pub use thinmover::NAME as THINMOVER;

/// The passphrase of every repository.
const PASSPHRASE: &str = "correct horse battery staple";

/// The volume as the tools see it: a file with this name in a folder of its own, which is their
/// working directory.
pub const IMAGE: &str = "volume.img";

/// A tool's own folder in one round.
#[derive(Clone, Debug)]
pub struct Place {
    /// Exists and is empty at first.
    pub folder: PathBuf,
    /// The folder with the volume in it.
    pub source: PathBuf,
    /// Where the repository is in a run over S3.
    pub bucket: Option<Bucket>,
}

impl Place {
    fn repository(&self) -> PathBuf {
        self.folder.join("repository")
    }

    /// What counts as stored: all of it lies below this folder.
    pub fn stored(&self) -> PathBuf {
        self.bucket.as_ref().map_or_else(|| self.repository(), |bucket| bucket.objects.clone())
    }

    /// For caches, configuration and whatever else a tool keeps at home.
    fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// The folder that is restored to.
    fn restored(&self) -> PathBuf {
        self.folder.join("restored")
    }

    fn password_file(&self) -> PathBuf {
        self.folder.join("passphrase")
    }

    /// The tool, with the volume's folder as working directory and a home of its own.
    fn command(&self, binary: &Path) -> Command {
        let mut command = Command::new(binary);
        command.current_dir(&self.source).env("HOME", self.home());
        command.env_remove("XDG_CACHE_HOME").env_remove("XDG_CONFIG_HOME");
        // A server on this machine is reached without a proxy.
        command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
        command
    }

    /// Makes what every tool finds at the start of a round.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn prepare(&self) -> Result<()> {
        let prepare = || {
            std::fs::create_dir_all(self.home())?;
            std::fs::create_dir_all(self.restored())?;
            std::fs::write(self.password_file(), format!("{PASSPHRASE}\n"))
        };
        prepare().with_context(|| format!("cannot prepare {}", self.folder.display()))
    }
}

/// A tool that backs the volume up and restores it.
pub trait Peer {
    /// As in the report.
    fn name(&self) -> &'static str;

    /// What it is told, for the report; its defaults go without saying.
    fn options(&self) -> &'static str;

    /// The command that prints the version.
    fn version(&self) -> Command;

    /// The commands that make an empty repository. They are not measured.
    ///
    /// # Errors
    /// When what they need cannot be prepared.
    fn init(&self, place: &Place) -> Result<Vec<Command>>;

    /// The command that backs the volume up.
    fn backup(&self, place: &Place) -> Command;

    /// The command that restores the last backup.
    ///
    /// # Errors
    /// When the tool does not say which backup is the last.
    fn restore(&self, place: &Place) -> Result<Command>;

    /// Where the restored volume is then.
    fn restored(&self, place: &Place) -> PathBuf {
        place.restored().join(IMAGE)
    }

    /// Whether it is told how to use a bucket.
    fn knows_buckets(&self) -> bool {
        false
    }
}

/// How a tool comes onto a machine that has it not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is built with this workspace.
    Here,
    /// A package of the system, which `scripts/install-deps bench` installs.
    Package,
    /// `cargo install` of this crate.
    Crate(&'static str),
    /// `go install` of this package.
    GoPackage(&'static str),
}

/// A tool that the benchmark knows.
#[derive(Clone, Copy)]
pub struct Known {
    /// As in the report and on the command line.
    pub name: &'static str,
    /// What its executable is called.
    pub binary: &'static str,
    /// Where to get it.
    pub origin: Origin,
    /// The tool whose executable is at this path.
    pub at: fn(PathBuf) -> Box<dyn Peer>,
}

/// Every tool, in the order of the report.
pub const KNOWN: &[Known] =
    &[thinmover::KNOWN, restic::KNOWN, rustic::KNOWN, borg::KNOWN, kopia::KNOWN];

/// Tools of the same kind that are not compared, and why.
pub const LEFT_OUT: &[(&str, &str)] =
    &[("blk-archive", "it is packaged neither by Debian nor on crates.io")];

/// The version in what a tool prints about itself: its first word that begins with a number and has a
/// dot, with or without `v`.
pub fn version_in(output: &str) -> Option<&str> {
    output
        .split_whitespace()
        .map(|word| word.strip_prefix('v').unwrap_or(word).trim_end_matches(','))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_tools_print() {
        for (printed, version) in [
            ("restic 0.14.0 compiled with go1.19.8 on linux/amd64\n", Some("0.14.0")),
            ("borg 1.2.4\n", Some("1.2.4")),
            ("rustic v0.11.4-3-gabc\n", Some("0.11.4-3-gabc")),
            ("0.21.1 build: unknown from: kopia/kopia\n", Some("0.21.1")),
            ("a tool without one", None),
        ] {
            assert_eq!(version_in(printed), version);
        }
    }

    #[test]
    fn names_are_given_once() {
        for (at, known) in KNOWN.iter().enumerate() {
            assert!(KNOWN[..at].iter().all(|other| other.name != known.name));
            assert_eq!((known.at)("x".into()).name(), known.name);
        }
    }
}
