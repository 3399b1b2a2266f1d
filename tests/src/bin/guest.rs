//! `cargo guest`: runs a command, or a shell, in the test guest.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use thinmover_tests::guest::{Disk, Event, Guest, Machine, Payload};

/// The exit status that says: the guest failed, not the command.
const GUEST_FAILED: u8 = 125;

/// Boots the test guest, a Debian machine with real LVM, in qemu.
#[derive(Parser)]
#[command(name = "cargo guest", bin_name = "cargo guest")]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Run one command as root and pass its output and exit status through; 125 when the guest failed
    Run {
        #[command(flatten)]
        options: Options,
        /// End the guest after this long, as 90, 90s, 10m or 1h
        #[arg(long, value_parser = parse_duration)]
        timeout: Option<Duration>,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Open an interactive root shell
    Shell {
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Args)]
struct Options {
    /// A file or folder that stands at the same absolute path inside
    #[arg(long, value_name = "PATH")]
    with: Vec<PathBuf>,
    /// An empty disk, as 4G; the first is /dev/disk/by-id/virtio-disk0
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    disk: Vec<u64>,
    /// The guest's memory
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "1536M")]
    memory: u64,
    /// Leave thinmover itself out, and do not build it
    #[arg(long)]
    bare: bool,
}

impl Options {
    fn machine(self) -> Machine {
        Machine {
            memory_bytes: self.memory,
            disks: self.disk.into_iter().map(Disk::Empty).collect(),
            payload: Payload { installed: !self.bare, with: self.with },
            ..Machine::default()
        }
    }
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Action::Run { options, timeout, command } => run(&options.machine(), timeout, &command),
        Action::Shell { options } => shell(options.machine()),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("guest: {error:#}");
            ExitCode::from(GUEST_FAILED)
        }
    }
}

fn run(machine: &Machine, timeout: Option<Duration>, command: &[OsString]) -> Result<u8> {
    let mut guest = Guest::boot(machine, timeout.map(|timeout| Instant::now() + timeout))?;
    guest.start(command)?;
    loop {
        match guest.next_event()? {
            Event::Out(bytes) => pass_on(&mut std::io::stdout(), &bytes)?,
            Event::Err(bytes) => pass_on(&mut std::io::stderr(), &bytes)?,
            Event::Exited(status) => return Ok(status),
        }
    }
}

fn shell(mut machine: Machine) -> Result<u8> {
    if !std::io::stdin().is_terminal() {
        bail!("a shell needs a terminal; `cargo guest run` does without");
    }
    machine.terminal = true;
    let term = std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned());
    let (rows, columns) = terminal_size();
    eprintln!("guest: booting; leave the shell by `exit`");
    let settings = TerminalSettings::save()?;
    let mut guest = Guest::boot(&machine, None)?;
    let ended = guest.run(&["/usr/lib/guest/shell", &term, &rows, &columns]);
    drop(guest);
    settings.restore()?;
    Ok(ended?.status)
}

/// The terminal's settings, which qemu changes and a killed qemu does not put back.
struct TerminalSettings(String);

impl TerminalSettings {
    fn save() -> Result<Self> {
        Ok(Self(stty(&["-g"])?.trim().to_owned()))
    }

    fn restore(&self) -> Result<()> {
        stty(&[&self.0]).map(drop)
    }
}

/// Rows and columns, 24 and 80 when the terminal does not say.
fn terminal_size() -> (String, String) {
    let size = stty(&["size"]).unwrap_or_default();
    let size = size.trim().split_once(' ').filter(|&(rows, _)| rows != "0");
    let (rows, columns) = size.unwrap_or(("24", "80"));
    (rows.to_owned(), columns.to_owned())
}

fn stty(arguments: &[&str]) -> Result<String> {
    let mut stty = std::process::Command::new("stty");
    let output = stty.args(arguments).stdin(std::process::Stdio::inherit()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn pass_on(to: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    to.write_all(bytes).and_then(|()| to.flush()).context("cannot pass the output on")
}

/// Bytes, with K, M, G or T for powers of 1024.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(['K', 'M', 'G', 'T']);
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err("a size has one suffix of K, M, G, T".to_owned()),
    };
    let count: u64 = digits.parse().map_err(|_| "a size is a number, as 512M or 4G".to_owned())?;
    count.checked_mul(1 << shift).ok_or_else(|| "the size is too large".to_owned())
}

/// Seconds, or a number with s, m or h.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(['s', 'm', 'h']);
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("a time has one suffix of s, m, h".to_owned()),
    };
    let count: u32 = digits.parse().map_err(|_| "a time is a number, as 90s or 10m".to_owned())?;
    Ok(Duration::from_secs(u64::from(count) * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_one_suffix() {
        assert_eq!(parse_size("4G"), Ok(4 << 30));
        assert_eq!(parse_size("512"), Ok(512));
        for bad in ["", "G", "4GG", "4g", "-1", "1.5G", "99999999999T"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_take_one_suffix() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        for bad in ["", "m", "1d", "1ms", "-3"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
