//! `udevadm settle`: wait until udev has looked at what was just activated or removed.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use super::run::{Program, Run};

/// Waits until udev's queue is empty, for at most `limit`. That is all it is for: udev opens new
/// devices to look at them, and an open device cannot be removed. A host without udev has nothing
/// to wait for, so failures are of no interest.
pub(crate) fn settle(limit: Duration) {
    let timeout = format!("--timeout={}", limit.as_secs());
    let _ = Run {
        program: Program { name: "udevadm", package: "systemd-udev" },
        arguments: ["settle", &timeout].map(OsStr::new).to_vec(),
        stdin: Stdio::null(),
        time_limit: limit + Duration::from_secs(5),
    }
    .stdout();
}
