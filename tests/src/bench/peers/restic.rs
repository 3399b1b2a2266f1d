//! restic, with its defaults and repository format 2.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{IMAGE, Known, Origin, Peer, Place};
use crate::bench::tools::has_option;

pub(super) const KNOWN: Known = Known {
    name: "restic",
    binary: "restic",
    origin: Origin::Package,
    at: |path| Box::new(Restic(path)),
};

struct Restic(PathBuf);

impl Restic {
    fn command(&self, place: &Place, subcommand: &str) -> Command {
        let mut command = place.command(&self.0);
        command.arg(subcommand).arg("--repo");
        match &place.bucket {
            None => command.arg(place.repository()),
            Some(bucket) => {
                command.env("AWS_ACCESS_KEY_ID", bucket.key_id);
                command.env("AWS_SECRET_ACCESS_KEY", bucket.secret);
                command.arg(format!("s3:{}/{}/repository", bucket.endpoint, bucket.name))
            }
        };
        command.arg("--password-file").arg(place.password_file());
        command.arg("--cache-dir").arg(place.home().join("cache"));
        command
    }
}

impl Peer for Restic {
    fn name(&self) -> &'static str {
        KNOWN.name
    }

    fn options(&self) -> &'static str {
        "init --repository-version 2; restore --sparse where it has that (0.15 and later)"
    }

    fn knows_buckets(&self) -> bool {
        true
    }

    fn version(&self) -> Command {
        let mut command = Command::new(&self.0);
        command.arg("version");
        command
    }

    fn init(&self, place: &Place) -> Result<Vec<Command>> {
        let mut command = self.command(place, "init");
        command.args(["--repository-version", "2"]);
        Ok(vec![command])
    }

    fn backup(&self, place: &Place) -> Command {
        let mut command = self.command(place, "backup");
        command.arg(IMAGE);
        command
    }

    fn restore(&self, place: &Place) -> Result<Command> {
        let mut command = self.command(place, "restore");
        if has_option(&self.0, &["restore"], "--sparse") {
            command.arg("--sparse");
        }
        command.arg("latest").arg("--target").arg(place.restored());
        Ok(command)
    }
}
