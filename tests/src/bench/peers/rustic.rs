//! rustic, with its defaults.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{IMAGE, Known, Origin, Peer, Place};

pub(super) const KNOWN: Known = Known {
    name: "rustic",
    binary: "rustic",
    origin: Origin::Crate("rustic-rs"),
    at: |path| Box::new(Rustic(path)),
};

struct Rustic(PathBuf);

impl Rustic {
    fn command(&self, place: &Place) -> Command {
        let mut command = place.command(&self.0);
        command.arg("--repository").arg(place.repository());
        command.arg("--password-file").arg(place.password_file());
        command.arg("--cache-dir").arg(place.home().join("cache"));
        command
    }
}

impl Peer for Rustic {
    fn name(&self) -> &'static str {
        KNOWN.name
    }

    fn options(&self) -> &'static str {
        ""
    }

    fn version(&self) -> Command {
        let mut command = Command::new(&self.0);
        command.arg("--version");
        command
    }

    fn init(&self, place: &Place) -> Result<Vec<Command>> {
        let mut command = self.command(place);
        command.arg("init");
        Ok(vec![command])
    }

    fn backup(&self, place: &Place) -> Command {
        let mut command = self.command(place);
        command.args(["backup", "--as-path", "/", IMAGE]);
        command
    }

    fn restore(&self, place: &Place) -> Result<Command> {
        let mut command = self.command(place);
        command.args(["restore", "latest"]).arg(place.restored());
        Ok(command)
    }
}
