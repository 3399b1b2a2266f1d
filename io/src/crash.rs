//! Named points at which a test can kill the process, as a power cut or an OOM kill would.

/// Marks a durable step (a record written, an LVM command run, an object stored). With the feature
/// `crash-points` and `THINMOVER_CRASH_AT=NAME` in the environment the process kills itself with
/// SIGKILL here, at the `NAME#N` form on the N-th passing (from 1); with `THINMOVER_CRASH_LOG=FILE`
/// every passing is appended to FILE, a name a line, so that a test can list the points first.
/// Without the feature this is nothing.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn crash_point(_name: &str) {}

/// See the other definition: this is the one that kills.
#[cfg(feature = "crash-points")]
pub fn crash_point(name: &str) {
    use std::collections::HashMap;
    use std::io::Write;
    use std::sync::{Mutex, PoisonError};

    static PASSED: Mutex<Option<HashMap<String, u32>>> = Mutex::new(None);

    let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    let count = passed.get_or_insert_default().entry(name.to_owned()).or_insert(0);
    *count += 1;
    if let Some(log) = std::env::var_os("THINMOVER_CRASH_LOG")
        && let Ok(mut log) = std::fs::OpenOptions::new().append(true).create(true).open(log)
    {
        let _ = writeln!(log, "{name}");
    }
    let Ok(wanted) = std::env::var("THINMOVER_CRASH_AT") else { return };
    if wanted == name || wanted == format!("{name}#{count}") {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::SIGKILL);
    }
}
