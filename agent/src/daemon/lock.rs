//! The lock that makes an agent the only one on its state directory.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::failures::io_failure;
use crate::failure::{Code, Failure, Result};

/// Longer than any process id with its newline.
const PID_BYTES_MAX: u64 = 32;

/// Held for as long as the agent lives. flock(2) ends with the process, however that ends, so a
/// dead agent locks nobody out; the file stays. Jobs of `--standalone` do not take this lock.
#[derive(Debug)]
pub(crate) struct AgentLock {
    // Close-on-exec as std opens every file, so that no command we run can keep the lock alive.
    _file: File,
}

impl AgentLock {
    /// Locks `agent.lock` in `state_dir`, making both where they are missing. The file then holds
    /// our process id, for people.
    ///
    /// # Errors
    /// `Busy` when another agent has it.
    pub(crate) fn take(state_dir: &Path) -> Result<Self> {
        // Records name volumes and say what is done with them: for root alone.
        DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(|error| {
            io_failure(format!("cannot create the state directory {}", state_dir.display()), &error)
        })?;
        let path = state_dir.join("agent.lock");
        let failed = |error: &_| io_failure(format!("cannot lock {}", path.display()), error);
        // Whoever can open the file can hold a lock on it, and keep every agent out.
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => return Err(taken(&mut file, state_dir)),
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(|error| failed(&error))?;
        Ok(Self { _file: file })
    }
}

fn taken(file: &mut File, state_dir: &Path) -> Failure {
    let pid = holder(file).map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    let message = format!("another agent{pid} keeps its state in {}", state_dir.display());
    Failure::new(Code::Busy, message).hint(
        "stop it first, by `systemctl stop thinmover.service thinmover.socket` or by ending the \
         process, or give this one another `state_dir`",
    )
}

/// The process id in the file, where it is one: its owner may be about to write it.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_second_agent_is_told_who_has_the_state() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("lib/thinmover");
        let held = AgentLock::take(&state).unwrap();
        let refused = AgentLock::take(&state).unwrap_err();
        assert_eq!(refused.code, Code::Busy);
        let expected = format!(
            "another agent (pid {}) keeps its state in {}",
            std::process::id(),
            state.display()
        );
        assert_eq!(refused.message, expected);
        assert!(refused.hint.is_some());
        drop(held);
        AgentLock::take(&state).unwrap();
    }

    #[test]
    fn state_and_lock_are_roots_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let _held = AgentLock::take(&state).unwrap();
        assert_eq!(mode(&state), 0o700);
        assert_eq!(mode(&state.join("agent.lock")), 0o600);
    }

    #[test]
    fn what_a_dead_agent_left_in_the_file_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.lock");
        fs::write(&path, "4194304000000\nand more\n").unwrap();
        let _held = AgentLock::take(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_file_without_a_process_id_still_says_that_there_is_another_agent() {
        let folder = tempfile::tempdir().unwrap();
        let _held = AgentLock::take(folder.path()).unwrap();
        for garbage in [&b""[..], b"soon", b"\xff\xff", &[b'9'; 4096]] {
            fs::write(folder.path().join("agent.lock"), garbage).unwrap();
            let refused = AgentLock::take(folder.path()).unwrap_err();
            assert!(refused.message.starts_with("another agent keeps"), "{}", refused.message);
        }
    }

    #[test]
    fn a_state_directory_that_is_a_file_is_a_clear_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = AgentLock::take(file.path()).unwrap_err();
        assert!(refused.message.contains(file.path().to_str().unwrap()), "{}", refused.message);
    }
}
