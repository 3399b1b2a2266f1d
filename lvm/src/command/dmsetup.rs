//! `dmsetup`: what the kernel itself says of a device, without LVM's locks or a scan of the disks.
//!
//! It comes with lvm2, so it needs nothing more on the host; devices are named by their UUID, which
//! LVM never gives to another volume, never by name.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

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

/// The thin-pool target's status line (kernel `Documentation/admin-guide/device-mapper/
/// thin-provisioning.rst`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DmThinPool {
    /// The target has failed all I/O.
    Failed,
    Running {
        used_metadata_blocks: u64,
        total_metadata_blocks: u64,
        used_data_blocks: u64,
        total_data_blocks: u64,
        mode: DmPoolMode,
        needs_check: bool,
    },
}

/// In which mode a pool runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DmPoolMode {
    ReadWrite,
    ReadOnly,
    OutOfDataSpace,
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
        self.about(&["status", "--target", "thin-pool"], dm_uuid, parse_thin_pool)
    }

    fn about<T>(
        &self,
        options: &[&str],
        dm_uuid: &str,
        parse: fn(&str) -> Option<T>,
    ) -> Result<Option<T>, CommandError> {
        let arguments = [options, &["-u", dm_uuid]].concat();
        let run = Run {
            program: DMSETUP,
            arguments: arguments.iter().map(OsStr::new).collect(),
            stdin: Stdio::null(),
            time_limit: self.time_limit,
        };
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

fn parse_thin_pool(printed: &str) -> Option<DmThinPool> {
    let mut words = printed.split_whitespace();
    let (_start, _length) = (number(words.next()?)?, number(words.next()?)?);
    if words.next()? != "thin-pool" {
        return None;
    }
    let first = words.next()?;
    if first == "Fail" || first == "Error" {
        return Some(DmThinPool::Failed);
    }
    let _transaction_id = number(first)?;
    let (used_metadata_blocks, total_metadata_blocks) = fraction(words.next()?)?;
    let (used_data_blocks, total_data_blocks) = fraction(words.next()?)?;
    let _held_root = words.next()?;
    let mut mode = None;
    let mut needs_check = false;
    for word in words {
        match word {
            "rw" => mode = Some(DmPoolMode::ReadWrite),
            "ro" => mode = Some(DmPoolMode::ReadOnly),
            "out_of_data_space" => mode = Some(DmPoolMode::OutOfDataSpace),
            "needs_check" => needs_check = true,
            _ => {}
        }
    }
    Some(DmThinPool::Running {
        used_metadata_blocks,
        total_metadata_blocks,
        used_data_blocks,
        total_data_blocks,
        mode: mode?,
        needs_check,
    })
}

fn number(word: &str) -> Option<u64> {
    word.parse().ok()
}

fn fraction(word: &str) -> Option<(u64, u64)> {
    let (used, total) = word.split_once('/')?;
    Some((number(used)?, number(total)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{DISTRIBUTIONS, fixture};
    use proptest::prelude::*;

    fn running(used: (u64, u64), mode: DmPoolMode, needs_check: bool) -> DmThinPool {
        DmThinPool::Running {
            used_metadata_blocks: used.0,
            total_metadata_blocks: 1024,
            used_data_blocks: used.1,
            total_data_blocks: 8000,
            mode,
            needs_check,
        }
    }

    #[test]
    fn the_kernels_status_lines_are_read() {
        use DmPoolMode::{OutOfDataSpace, ReadOnly, ReadWrite};
        let table = [
            (
                "0 1024000 thin-pool 4 125/1024 1833/8000 - rw discard_passdown queue_if_no_space - 256 \n",
                Some(running((125, 1833), ReadWrite, false)),
            ),
            (
                // A held metadata root.
                "0 1024000 thin-pool 4 125/1024 1833/8000 77 rw discard_passdown error_if_no_space - 256",
                Some(running((125, 1833), ReadWrite, false)),
            ),
            (
                "0 1024000 thin-pool 4 125/1024 8000/8000 - out_of_data_space discard_passdown queue_if_no_space - 256",
                Some(running((125, 8000), OutOfDataSpace, false)),
            ),
            (
                "0 1024000 thin-pool 4 1024/1024 10/8000 - ro no_discard_passdown queue_if_no_space needs_check 256",
                Some(running((1024, 10), ReadOnly, true)),
            ),
            ("0 1024000 thin-pool Fail", Some(DmThinPool::Failed)),
            ("0 1024000 thin-pool Error", Some(DmThinPool::Failed)),
            ("0 1024000 linear ", None),
            ("0 1024000 thin-pool 4 125/1024 1833/8000 - sideways", None),
            ("0 1024000 thin-pool 4 125 1833/8000 - rw", None),
            ("", None),
        ];
        for (line, wanted) in table {
            assert_eq!(parse_thin_pool(line), wanted, "{line}");
        }
    }

    #[test]
    fn what_dmsetup_says_on_every_distribution_is_understood() {
        for distribution in DISTRIBUTIONS {
            // Captured of all devices at once, with what names each of them in front.
            let pools = fixture(&format!("{distribution}/dmsetup-status-thin-pool.txt"));
            for line in pools.lines() {
                let status = line.split_once(": ").unwrap().1;
                let pool = parse_thin_pool(status);
                assert!(matches!(pool, Some(DmThinPool::Running { .. })), "{line}");
            }
            let devices = fixture(&format!("{distribution}/dmsetup-info.txt"));
            for line in devices.lines() {
                let info = parse_info(line.split_once('|').unwrap().1);
                assert!(info.is_some_and(|info| !info.suspended), "{line}");
            }
            assert!(pools.lines().count() > 0 && devices.lines().count() > 5);
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
        fn no_text_makes_a_parser_panic(text in any::<String>(), tail in "[-0-9/a-z ]{0,40}") {
            let _ = (parse_info(&text), parse_thin_pool(&text));
            let _ = parse_thin_pool(&format!("0 1 thin-pool {tail}"));
        }
    }
}
