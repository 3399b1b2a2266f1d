//! Locks between the processes of this host: files that hold nothing and are locked while somebody
//! has a turn.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Takes the lock at `path`; `None` when others held it for all of `limit`.
///
/// flock(2) belongs to the open file description: a program that is handed the open file, or a
/// copy of it, as its standard input keeps the lock until it has ended, though we be killed before.
/// Whoever then waits for the lock does not look at a host on which that program is still at work.
/// Standard input is used because LVM closes every other descriptor it inherits.
pub(crate) fn acquire(path: &Path, limit: Duration) -> io::Result<Option<File>> {
    // For root alone: whoever can open a file can hold a lock on it, and stop us for good.
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path)?;
    let deadline = Instant::now() + limit;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(POLL_INTERVAL);
            }
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_second_taker_waits_and_then_gives_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = acquire(&path, Duration::ZERO).unwrap();
        assert!(held.is_some());
        assert!(acquire(&path, Duration::from_millis(50)).unwrap().is_none());
        drop(held);
        // A child that another test has forked shares every open file until its execve(2).
        assert!(acquire(&path, Duration::from_secs(5)).unwrap().is_some());
    }

    #[test]
    fn the_lock_file_is_roots_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let lock = acquire(&path, Duration::ZERO).unwrap().unwrap();
        assert_eq!(lock.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_program_that_outlives_us_keeps_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let lock = acquire(&path, Duration::ZERO).unwrap().unwrap();
        let mut child = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::from(lock.try_clone().unwrap()))
            .spawn()
            .unwrap();
        drop(lock);
        assert!(acquire(&path, Duration::from_millis(50)).unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(acquire(&path, Duration::from_secs(5)).unwrap().is_some());
    }
}
