//! Named points at which a test can kill the process, as a power cut or an OOM kill would, or make a
//! thread hang, as a disk that never answers would.

/// Marks a durable step (a record written, an LVM command run, an object stored). With the feature
/// `crash-points` and `THINMOVER_CRASH_AT=NAME` in the environment the process kills itself with
/// SIGKILL here, at the `NAME#N` form on the N-th passing (from 1); with `THINMOVER_CRASH_LOG=FILE`
/// every passing is appended to FILE, a name a line, so that a test can list the points first. With
/// `THINMOVER_HANG_LIST=FILE` a thread that comes to a point which stands in FILE, a name a line,
/// stays there for ever; `NAME hangs` in the log says that one does. Without the feature this is
/// nothing.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn crash_point(_name: &str) {}

/// See the other definition: this is the one that kills and hangs.
#[cfg(feature = "crash-points")]
pub fn crash_point(name: &str) {
    use std::collections::HashMap;
    use std::sync::{Mutex, PoisonError};

    static PASSED: Mutex<Option<HashMap<String, u32>>> = Mutex::new(None);

    let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    let count = passed.get_or_insert_default().entry(name.to_owned()).or_insert(0);
    *count += 1;
    log(name);
    if let Ok(wanted) = std::env::var("THINMOVER_CRASH_AT")
        && (wanted == name || wanted == format!("{name}#{count}"))
    {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::SIGKILL);
    }
    // Other threads pass their points while this one hangs.
    drop(passed);
    if hangs(name) {
        log(&format!("{name} hangs"));
        loop {
            std::thread::park();
        }
    }
}

#[cfg(feature = "crash-points")]
fn log(line: &str) {
    use std::io::Write;

    if let Some(log) = std::env::var_os("THINMOVER_CRASH_LOG")
        && let Ok(mut log) = std::fs::OpenOptions::new().append(true).create(true).open(log)
    {
        let _ = log.write_all(format!("{line}\n").as_bytes());
    }
}

#[cfg(feature = "crash-points")]
fn hangs(name: &str) -> bool {
    std::env::var_os("THINMOVER_HANG_LIST")
        .and_then(|list| std::fs::read_to_string(list).ok())
        .is_some_and(|list| list.lines().any(|line| line == name))
}
