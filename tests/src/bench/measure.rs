//! What a command costs, measured by a small process of its own between the harness and the command.
//!
//! The process in between (`bench measure`) is there for the figures: what getrusage(2) says of its
//! children is this one command with everything it started, and the peak of a child begins with what
//! its parent had in memory, which is little there.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::sys::wait::wait;
use serde::{Deserialize, Serialize};

/// What one run of a command took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// From its start until what it wrote is on the disk.
    pub wall_seconds: f64,
    /// User and system time of its processes and threads; not the kernel's own writing back.
    pub cpu_seconds: f64,
    /// The most memory that its largest process had resident (`ru_maxrss`).
    pub peak_bytes: u64,
    /// What everything else on the machine used of its processors meanwhile, the kernel's own threads
    /// included, and what a hypervisor took from them.
    pub other_cpu_seconds: f64,
}

/// What `bench measure` is told.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// What the command writes to: its filesystem is synced before the clock stops
    #[arg(long, value_name = "PATH")]
    sync: PathBuf,
    /// Gets what the command prints
    #[arg(long, value_name = "FILE")]
    log: PathBuf,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Runs `command` under the measuring process, a subcommand of `harness`. What it prints goes to `log`.
///
/// # Errors
/// When the command cannot be started or fails; the end of the log is in the message.
pub fn measured(harness: &Path, command: &Command, sync: &Path, log: &Path) -> Result<Figures> {
    let mut outer = Command::new(harness);
    outer.arg("measure").arg("--sync").arg(sync).arg("--log").arg(log);
    outer.arg("--").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        outer.current_dir(folder);
    }
    let output = outer.stdin(Stdio::null()).output().context("cannot start the measuring")?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{}{}", stderr.trim(), tail(log));
    }
    serde_json::from_slice(&output.stdout).context("the measuring process printed no figures")
}

/// The measuring process: runs the command and prints the [`Figures`] as JSON.
///
/// # Errors
/// When the command cannot be started or fails.
pub fn run(arguments: &Arguments) -> Result<()> {
    let log = File::create(&arguments.log).context("cannot make the log")?;
    let Some((program, rest)) = arguments.command.split_first() else {
        bail!("no command");
    };
    // What outlives its parent becomes a child of this process, is waited for and counted.
    nix::sys::prctl::set_child_subreaper(true)?;
    let mut command = Command::new(program);
    command.args(rest).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);

    let busy_before = busy_seconds();
    let start = Instant::now();
    let status =
        command.status().with_context(|| format!("cannot run {}", program.to_string_lossy()))?;
    while wait() != Err(Errno::ECHILD) {}
    if !status.success() {
        bail!("{} failed ({status})", program.to_string_lossy());
    }
    nix::unistd::syncfs(File::open(&arguments.sync)?)?;
    let wall = start.elapsed();

    let busy = busy_seconds() - busy_before;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu_seconds = seconds(usage.user_time()) + seconds(usage.system_time());
    let figures = Figures {
        wall_seconds: wall.as_secs_f64(),
        cpu_seconds,
        peak_bytes: u64::try_from(usage.max_rss()).unwrap_or(0) << 10,
        other_cpu_seconds: f64::max(busy - cpu_seconds, 0.0),
    };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}

/// How long the machine's processors together were not idle since it started.
fn busy_seconds() -> f64 {
    busy_in(&std::fs::read_to_string("/proc/stat").unwrap_or_default())
}

/// proc_stat(5): hundredths of a second (USER_HZ) as user, nice, system, idle, iowait, irq, softirq and
/// steal.
fn busy_in(stat: &str) -> f64 {
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    let ticks: Vec<f64> = all.split_whitespace().filter_map(|tick| tick.parse().ok()).collect();
    let is_busy = |at: &usize| !matches!(at, 3 | 4);
    (0..ticks.len().min(8)).filter(is_busy).map(|at| ticks[at]).sum::<f64>() / 100.0
}

/// The last lines of what a command printed, each on a line of its own.
fn tail(log: &Path) -> String {
    let log = std::fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(5)..].iter().map(|line| format!("\n  {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_processors_are_not_busy_and_guests_are_counted_once() {
        let stat = "cpu  100 20 3000 999999 888888 50 6 700 77 88\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert!((busy_in(stat) - 38.76).abs() < 1e-9, "{}", busy_in(stat));
        assert_eq!(busy_in(""), 0.0);
    }
}
