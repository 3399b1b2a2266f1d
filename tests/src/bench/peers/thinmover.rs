//! This product, without its agent and with its defaults.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{IMAGE, Known, Origin, Peer, Place};

/// Its name in the report.
pub const NAME: &str = "thinmover";

pub(super) const KNOWN: Known = Known {
    name: NAME,
    binary: "thinmover",
    origin: Origin::Here,
    at: |path| Box::new(Thinmover(path)),
};

struct Thinmover(PathBuf);

impl Thinmover {
    fn command(&self, place: &Place) -> Command {
        let mut command = place.command(&self.0);
        command.arg("--config").arg(place.home().join("config.toml"));
        command.arg("--password-file").arg(place.password_file());
        command
    }

    /// Adds the repository as the value of `option`, or as an argument of its own.
    fn add_repository(command: &mut Command, option: Option<&str>, place: &Place) {
        command.args(option);
        match &place.bucket {
            None => command.arg(format!("file://{}", place.repository().display())),
            Some(bucket) => command
                .arg(format!("s3://{}/repository", bucket.name))
                .args(["--s3-endpoint", &bucket.endpoint, "--s3-credentials-file"])
                .arg(&bucket.credentials_file),
        };
    }
}

impl Peer for Thinmover {
    fn name(&self) -> &'static str {
        NAME
    }

    fn options(&self) -> &'static str {
        "--standalone --copy-method direct (AES-256-GCM, zstd 1, blocks of 256 KiB)"
    }

    fn knows_buckets(&self) -> bool {
        true
    }

    fn version(&self) -> Command {
        let mut command = Command::new(&self.0);
        command.arg("--version");
        command
    }

    fn init(&self, place: &Place) -> Result<Vec<Command>> {
        let home = place.home().display().to_string();
        let config = format!(
            "state_dir = \"{home}/state\"\nruntime_dir = \"{home}/run\"\ncache_dir = \"{home}/cache\"\n"
        );
        std::fs::write(place.home().join("config.toml"), config)?;
        let mut command = self.command(place);
        command.args(["repo", "init"]);
        Self::add_repository(&mut command, None, place);
        Ok(vec![command])
    }

    fn backup(&self, place: &Place) -> Command {
        let mut command = self.command(place);
        command.args(["backup", "create", "--standalone", "--copy-method", "direct"]);
        Self::add_repository(&mut command, Some("--repo"), place);
        command.arg(place.source.join(IMAGE));
        command
    }

    fn restore(&self, place: &Place) -> Result<Command> {
        let mut command = self.command(place);
        command.args(["restore", "--standalone", "--yes"]);
        Self::add_repository(&mut command, Some("--repo"), place);
        command.arg("--source").arg(place.source.join(IMAGE));
        command.arg("latest").arg(self.restored(place));
        Ok(command)
    }
}
