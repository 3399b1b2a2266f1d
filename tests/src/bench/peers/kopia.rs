//! kopia, with its fastest zstd. Written from its documentation: it could not be had where the others
//! were tried.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{Known, Origin, PASSPHRASE, Peer, Place};

pub(super) const KNOWN: Known = Known {
    name: "kopia",
    binary: "kopia",
    origin: Origin::GoPackage("github.com/kopia/kopia"),
    at: |path| Box::new(Kopia(path)),
};

struct Kopia(PathBuf);

impl Kopia {
    fn command(&self, place: &Place) -> Command {
        let mut command = place.command(&self.0);
        command.env("KOPIA_PASSWORD", PASSPHRASE).env("KOPIA_CHECK_FOR_UPDATES", "false");
        command.env("KOPIA_CACHE_DIRECTORY", place.home().join("cache"));
        command.env("KOPIA_LOG_DIR", place.home().join("logs"));
        command.arg("--config-file").arg(place.home().join("repository.config"));
        command
    }
}

impl Peer for Kopia {
    fn name(&self) -> &'static str {
        KNOWN.name
    }

    fn options(&self) -> &'static str {
        "policy --compression zstd-fastest; restore --write-sparse-files"
    }

    fn version(&self) -> Command {
        let mut command = Command::new(&self.0);
        command.arg("--version");
        command
    }

    fn init(&self, place: &Place) -> Result<Vec<Command>> {
        let mut create = self.command(place);
        create.args(["repository", "create", "filesystem", "--path"]).arg(place.repository());
        let mut policy = self.command(place);
        policy.args(["policy", "set", "--global", "--compression", "zstd-fastest"]);
        Ok(vec![create, policy])
    }

    fn backup(&self, place: &Place) -> Command {
        let mut command = self.command(place);
        command.args(["snapshot", "create"]).arg(&place.source);
        command
    }

    fn restore(&self, place: &Place) -> Result<Command> {
        let mut command = self.command(place);
        command.args(["restore", "--write-sparse-files", "--snapshot-time", "latest"]);
        command.arg(&place.source).arg(place.restored());
        Ok(command)
    }
}
