//! BorgBackup, set up for volumes: blocks of a fixed size, fast compression, holes kept.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{IMAGE, Known, Origin, PASSPHRASE, Peer, Place};

pub(super) const KNOWN: Known = Known {
    name: "borg",
    binary: "borg",
    origin: Origin::Package,
    at: |path| Box::new(Borg(path)),
};

struct Borg(PathBuf);

impl Borg {
    fn command(&self, place: &Place, subcommand: &str) -> Command {
        let mut command = place.command(&self.0);
        command.env("BORG_PASSPHRASE", PASSPHRASE).env("BORG_BASE_DIR", place.home());
        command.env("BORG_REPO", place.repository()).arg(subcommand);
        command
    }
}

impl Peer for Borg {
    fn name(&self) -> &'static str {
        KNOWN.name
    }

    fn options(&self) -> &'static str {
        "init --encryption repokey; create --chunker-params fixed,262144 --compression zstd,1 \
         --sparse; extract --sparse"
    }

    fn version(&self) -> Command {
        let mut command = Command::new(&self.0);
        command.arg("--version");
        command
    }

    fn init(&self, place: &Place) -> Result<Vec<Command>> {
        let mut command = self.command(place, "init");
        command.args(["--encryption", "repokey"]);
        Ok(vec![command])
    }

    fn backup(&self, place: &Place) -> Command {
        let mut command = self.command(place, "create");
        command.args(["--chunker-params", "fixed,262144", "--compression", "zstd,1", "--sparse"]);
        command.args(["::{now:%s.%f}", IMAGE]);
        command
    }

    fn restore(&self, place: &Place) -> Result<Command> {
        // borg extracts the archive that it is named, into its working directory.
        let mut list = self.command(place, "list");
        list.args(["--short", "--last", "1"]);
        let archives = crate::bench::tools::output(list)?;
        let mut command = self.command(place, "extract");
        command.current_dir(place.restored());
        command.args(["--sparse", &format!("::{}", archives.trim())]);
        Ok(command)
    }
}
