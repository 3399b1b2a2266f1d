//! `dmsetup`: what the kernel itself says of a device, without LVM's locks or a scan of the disks,
//! and the messages that thin pools take.
//!
//! It comes with lvm2, so it needs nothing more on the host; devices are named by their UUID, which
//! LVM never gives to another volume, never by name.

mod status;
mod table;

use std::ffi::OsStr;
use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use thinmover_io::crash_point;

pub(crate) use status::{DmPoolMode, DmThinPool};
use table::{DmThinPoolTable, DmThinTable};

use super::run::{CommandError, Program, Run};

const DMSETUP: Program = Program { name: "dmsetup", package: "lvm2 (Debian: dmsetup)" };

/// What it says of a UUID that no device has.
const NO_SUCH_DEVICE: &str = "Device does not exist";

/// Runs `dmsetup`.
#[derive(Debug)]
pub(crate) struct Dmsetup {
    time_limit: Duration,
}

/// What `dmsetup info` says of an active device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DmInfo {
    pub(crate) open_count: u64,
    pub(crate) suspended: bool,
}

/// What a thin pool can be told (kernel `Documentation/admin-guide/device-mapper/
/// thin-provisioning.rst`, "Messages"). Others are LVM's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DmPoolMessage {
    ReserveMetadataSnapshot,
    ReleaseMetadataSnapshot,
}

impl DmPoolMessage {
    fn as_str(self) -> &'static str {
        match self {
            Self::ReserveMetadataSnapshot => "reserve_metadata_snap",
            Self::ReleaseMetadataSnapshot => "release_metadata_snap",
        }
    }
}

impl Dmsetup {
    pub(crate) fn new(time_limit: Duration) -> Self {
        Self { time_limit }
    }

    /// Facts of the device with `dm_uuid`; `None` when there is none, that is, inactive.
    pub(crate) fn info(&self, dm_uuid: &str) -> Result<Option<DmInfo>, CommandError> {
        let options = ["info", "-c", "--noheadings", "--separator", "|", "-o", "open,suspended"];
        self.about(&options, dm_uuid, parse_info)
    }

    /// The status of the thin pool with `dm_uuid`; `None` when it is not active.
    pub(crate) fn thin_pool(&self, dm_uuid: &str) -> Result<Option<DmThinPool>, CommandError> {
        self.about(&["status", "--target", "thin-pool"], dm_uuid, status::parse_thin_pool)
    }

    /// The table of the thin pool with `dm_uuid`; `None` when it is not active.
    pub(crate) fn thin_pool_table(
        &self,
        dm_uuid: &str,
    ) -> Result<Option<DmThinPoolTable>, CommandError> {
        self.about(&["table"], dm_uuid, table::parse_thin_pool)
    }

    /// The table of the thin volume with `dm_uuid`; `None` when it is not active.
    pub(crate) fn thin_table(&self, dm_uuid: &str) -> Result<Option<DmThinTable>, CommandError> {
        self.about(&["table"], dm_uuid, table::parse_thin)
    }

    /// Tells the thin pool with `dm_uuid`. Once it is taken, it is durable: the kernel commits the
    /// pool's metadata before the call returns (`pool_message` in dm-thin.c). `turn` is a lock: it
    /// lasts until the command has ended, also when we end before.
    pub(crate) fn message(
        &self,
        dm_uuid: &str,
        message: DmPoolMessage,
        turn: File,
    ) -> Result<(), CommandError> {
        let message = message.as_str();
        crash_point(&format!("dm:{message}:before"));
        // The sector is not used by this target.
        let arguments = ["message", "-u", dm_uuid, "0", message];
        let result = Run { stdin: Stdio::from(turn), ..self.run(&arguments) }.stdout();
        crash_point(&format!("dm:{message}:after"));
        result.map(drop)
    }

    fn about<T>(
        &self,
        options: &[&str],
        dm_uuid: &str,
        parse: fn(&str) -> Option<T>,
    ) -> Result<Option<T>, CommandError> {
        let arguments = [options, &["-u", dm_uuid]].concat();
        let run = self.run(&arguments);
        let command = run.to_string();
        match run.stdout() {
            Ok(printed) if printed.trim().is_empty() => Ok(None),
            Ok(printed) => parse(&printed)
                .map(Some)
                .ok_or(CommandError::Output { command, why: "it printed an unknown form" }),
            Err(CommandError::Failed { message, .. }) if message.contains(NO_SUCH_DEVICE) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn run<'a>(&self, arguments: &'a [&'a str]) -> Run<'a> {
        Run {
            program: DMSETUP,
            arguments: arguments.iter().map(OsStr::new).collect(),
            stdin: Stdio::null(),
            time_limit: self.time_limit,
        }
    }
}

fn parse_info(printed: &str) -> Option<DmInfo> {
    let (open, suspended) = printed.trim().split_once('|')?;
    let suspended = match suspended.trim() {
        "Active" => false,
        "Suspended" => true,
        _ => return None,
    };
    Some(DmInfo { open_count: open.trim().parse().ok()?, suspended })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{DISTRIBUTIONS, fixture};
    use proptest::prelude::*;

    #[test]
    fn what_dmsetup_says_on_every_distribution_is_understood() {
        for distribution in DISTRIBUTIONS {
            let devices = fixture(&format!("{distribution}/dmsetup-info.txt"));
            for line in devices.lines() {
                let info = parse_info(line.split_once('|').unwrap().1);
                assert!(info.is_some_and(|info| !info.suspended), "{line}");
            }
            assert!(devices.lines().count() > 5);
            let unknown = fixture(&format!("{distribution}/errors/dmsetup-info-unknown.txt"));
            assert!(unknown.contains(NO_SUCH_DEVICE), "{unknown}");
        }
    }

    #[test]
    fn open_counts_are_read() {
        let info = DmInfo { open_count: 2, suspended: false };
        assert_eq!(parse_info("2|Active\n"), Some(info));
        assert_eq!(parse_info(" 2 | Suspended \n"), Some(DmInfo { suspended: true, ..info }));
        for text in ["", "|", "2", "x|Active", "2|Dreaming"] {
            assert_eq!(parse_info(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = parse_info(&text);
        }
    }
}
