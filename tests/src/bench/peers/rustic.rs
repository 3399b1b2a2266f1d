//! rustic, with its defaults.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{IMAGE, Known, Origin, Peer, Place};
use crate::bench::tools::has_option;

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
        "restore --sparse by-content where it has that (0.11.4 and later)"
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
        command.arg("backup").arg(place.source.join(IMAGE));
        command
    }

    fn restore(&self, place: &Place) -> Result<Command> {
        let mut command = self.command(place);
        command.arg("restore");
        if has_option(&self.0, &["restore"], "--sparse") {
            command.args(["--sparse", "by-content"]);
        }
        command.arg(format!("latest:{}", place.source.join(IMAGE).display()));
        command.arg(self.restored(place));
        Ok(command)
    }
}
