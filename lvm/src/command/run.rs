//! One child process: its environment, its time limit, its output.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

/// Where programs are looked for; the caller's PATH is not trusted.
const SEARCH_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// What a program may print on stdout: `lvs -a` of tens of thousands of volumes fits.
const STDOUT_LIMIT_BYTES: u64 = 64 << 20;
/// What is kept of stderr for the error message.
const STDERR_LIMIT_BYTES: u64 = 16 << 10;
/// How long a program may take to end after SIGTERM before it gets SIGKILL. LVM defers signals
/// while it writes metadata, so it must not be killed at once.
const TERMINATION_GRACE: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 10_000 });
/// How often the end of a program is looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Why a program did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The program is not installed.
    #[error("{program} was not found in {SEARCH_PATH}; install the package {package}")]
    NotFound {
        /// Its name.
        program: &'static str,
        /// The distribution's package that has it.
        package: &'static str,
    },
    /// The caller is not root, which LVM and device-mapper need.
    #[error("{command}: root is needed ({message})")]
    NotRoot {
        /// The command line, for people.
        command: String,
        /// What it printed.
        message: String,
    },
    /// Another LVM command of thinmover has held the host-wide lock for too long.
    #[error(
        "{command}: another LVM command has held {} for more than {waited_seconds} s; \
         it may be stuck, see `fuser -v` on that file", lock.display()
    )]
    Locked {
        /// The command line, for people.
        command: String,
        /// The lock file.
        lock: PathBuf,
        /// How long was waited.
        waited_seconds: u64,
    },
    /// It ran for longer than the limit and was ended. What it had begun may be done or not.
    #[error("{command}: no answer within {limit_seconds} s, ended: {message}")]
    TimedOut {
        /// The command line, for people.
        command: String,
        /// The limit.
        limit_seconds: u64,
        /// What it printed until then.
        message: String,
    },
    /// It ended with a status other than 0.
    #[error("{command}: {status}: {message}")]
    Failed {
        /// The command line, for people.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed on stderr.
        message: String,
    },
    /// The lock file under which LVM commands take turns could not be opened.
    #[error("lock file {}: {source}", path.display())]
    LockFile {
        /// The lock file.
        path: PathBuf,
        /// What the system reports.
        source: io::Error,
    },
    /// It printed more than is read, or something that is no text.
    #[error("{command}: {why}")]
    Output {
        /// The command line, for people.
        command: String,
        /// What is wrong with its output.
        why: &'static str,
    },
    /// It could not be started or waited for.
    #[error("{command}: {source}")]
    Io {
        /// The command line, for people.
        command: String,
        /// What the system reports.
        source: io::Error,
    },
}

/// A program of the host and the package it comes in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) package: &'static str,
}

/// One run of a program.
pub(super) struct Run<'a> {
    pub(super) program: Program,
    pub(super) arguments: Vec<&'a OsStr>,
    /// What the child gets as standard input.
    pub(super) stdin: Stdio,
    pub(super) time_limit: Duration,
}

impl Run<'_> {
    /// Runs it and returns its stdout.
    pub(super) fn stdout(self) -> Result<String, CommandError> {
        let command = self.to_string();
        let io_error = |source| CommandError::Io { command: command.clone(), source };
        let mut child = Command::new(self.program.name)
            .args(&self.arguments)
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", SEARCH_PATH)
            .env("TZ", "UTC")
            // Ctrl-C is for us to answer, in order; LVM must not be interrupted on the way.
            .process_group(0)
            .stdin(self.stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => CommandError::NotFound {
                    program: self.program.name,
                    package: self.program.package,
                },
                _ => CommandError::Io { command: command.clone(), source },
            })?;
        let stdout = child.stdout.take().map(|pipe| drain(pipe, STDOUT_LIMIT_BYTES));
        let stderr = child.stderr.take().map(|pipe| drain(pipe, STDERR_LIMIT_BYTES));
        let ended = wait(&mut child, self.time_limit).map_err(io_error)?;
        let stdout = stdout.map(Drain::collect).unwrap_or_default();
        let stderr = stderr.map(Drain::collect).unwrap_or_default();
        let message = one_line(&stderr.bytes);
        let Ended::Itself(status) = ended else {
            let limit_seconds = self.time_limit.as_secs();
            return Err(CommandError::TimedOut { command, limit_seconds, message });
        };
        if !status.success() {
            return Err(failure(command, status, message));
        }
        if stdout.cut {
            return Err(CommandError::Output { command, why: "it printed more than 64 MiB" });
        }
        String::from_utf8(stdout.bytes)
            .map_err(|_| CommandError::Output { command, why: "it printed what is not UTF-8" })
    }
}

/// For people only; nothing is ever run from this text.
impl fmt::Display for Run<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program.name)?;
        for argument in &self.arguments {
            write!(f, " {}", argument.to_string_lossy())?;
        }
        Ok(())
    }
}

fn failure(command: String, status: ExitStatus, message: String) -> CommandError {
    let denied = ["Permission denied", "permission denied", "Operation not permitted", "as root"];
    if !geteuid().is_root() && denied.iter().any(|text| message.contains(text)) {
        CommandError::NotRoot { command, message }
    } else {
        CommandError::Failed { command, status, message }
    }
}

enum Ended {
    Itself(ExitStatus),
    ByUs,
}

fn wait(child: &mut Child, limit: Duration) -> io::Result<Ended> {
    if let Some(status) = wait_until(child, Instant::now() + limit)? {
        return Ok(Ended::Itself(status));
    }
    if let Ok(pid) = i32::try_from(child.id()) {
        // The child has not been waited for, so the number is still its own.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if wait_until(child, Instant::now() + TERMINATION_GRACE)?.is_none() {
        child.kill()?;
        // In uninterruptible sleep even SIGKILL waits. Whoever asked must not wait with it: the
        // host-wide lock stays with the child until it is gone.
        let _ = wait_until(child, Instant::now() + Duration::from_secs(1))?;
    }
    Ok(Ended::ByUs)
}

fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        thread::sleep(left.min(POLL_INTERVAL));
    }
}

/// What a program printed, up to a limit; the rest is read and dropped so that it never blocks.
#[derive(Default)]
struct Collected {
    bytes: Vec<u8>,
    cut: bool,
}

struct Drain {
    reader: thread::JoinHandle<()>,
    collected: std::sync::Arc<std::sync::Mutex<Collected>>,
}

fn drain(mut pipe: impl Read + Send + 'static, limit_bytes: u64) -> Drain {
    use std::sync::{Arc, Mutex, PoisonError};
    let collected = Arc::new(Mutex::new(Collected::default()));
    let shared = Arc::clone(&collected);
    let reader = thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            let mut collected = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let room = limit_bytes.saturating_sub(collected.bytes.len() as u64);
            let kept = count.min(usize::try_from(room).unwrap_or(usize::MAX));
            collected.bytes.extend_from_slice(&buffer[..kept]);
            collected.cut |= kept < count;
        }
    });
    Drain { reader, collected }
}

impl Drain {
    /// What has been read. A daemon that the program left behind (dmeventd) may hold the pipe open,
    /// so this waits only a moment for its end once the program itself is gone.
    fn collect(self) -> Collected {
        let deadline = Instant::now() + Duration::from_secs(1);
        while !self.reader.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        let mut collected =
            self.collected.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut collected)
    }
}

fn one_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { "it said nothing".to_owned() } else { lines.join("; ") }
}

impl CommandError {
    /// Whether the program ran to its end and reported a failure. Its effect must then be looked
    /// up: LVM also says "failed" when all but the last step is done.
    pub(crate) fn may_have_acted(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::TimedOut { .. } | Self::Output { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    fn run<'a>(name: &'static str, arguments: &'a [&'a str], limit: Duration) -> Run<'a> {
        Run {
            program: Program { name, package: "coreutils" },
            arguments: arguments.iter().map(OsStr::new).collect(),
            stdin: Stdio::null(),
            time_limit: limit,
        }
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_child_sees_only_the_environment_given_to_it() {
        // cargo itself sets CARGO_MANIFEST_DIR for the test, so there is something to leak.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let printed = run("env", &[], LONG).stdout().unwrap();
        let mut lines: Vec<&str> = printed.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["LC_ALL=C", &format!("PATH={SEARCH_PATH}"), "TZ=UTC"]);
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let begun = Instant::now();
        let error = run("sleep", &["600"], Duration::from_millis(50)).stdout().unwrap_err();
        assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(300));
    }

    #[test]
    fn a_program_that_ignores_being_asked_to_end_is_killed() {
        let stubborn = ["-c", "trap '' TERM; echo $$ >&2; while :; do :; done"];
        // It may be asked before it gets to ignoring that: then it has said nothing, and gets longer.
        let limits = [200, 2_000, 20_000].map(Duration::from_millis);
        let pid = limits.into_iter().find_map(|limit| {
            let error = run("sh", &stubborn, limit).stdout().unwrap_err();
            let CommandError::TimedOut { message, .. } = error else { panic!("{error}") };
            message.parse().ok().map(Pid::from_raw)
        });
        let pid = pid.unwrap();
        assert_eq!(kill(pid, None), Err(nix::errno::Errno::ESRCH), "{pid} lives on");
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = run("no-such-program", &[], LONG).stdout().unwrap_err();
        assert!(error.to_string().contains("install the package coreutils"), "{error}");
    }

    #[test]
    fn a_failure_carries_what_was_run_and_what_it_said() {
        let error = run("ls", &["/no/such/folder"], LONG).stdout().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("ls /no/such/folder"), "{text}");
        assert!(text.contains("No such file or directory"), "{text}");
        assert!(error.may_have_acted());
    }

    #[test]
    fn arguments_are_never_seen_by_a_shell() {
        let printed = run("echo", &["$(id)", "; id", "*"], LONG).stdout().unwrap();
        assert_eq!(printed, "$(id) ; id *\n");
    }

    #[test]
    fn output_past_the_limit_is_cut_and_does_not_block_the_writer() {
        let collected = drain(io::repeat(b'x').take(1 << 20), 100).collect();
        assert_eq!((collected.bytes.len(), collected.cut), (100, true));
    }
}
