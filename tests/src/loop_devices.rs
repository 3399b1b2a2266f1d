//! Runs trials that need device-mapper where it is: here, or else in the test guest.
//!
//! The test executable's `main` hands its trials to [`run`]. Where the caller is root and the kernel
//! has dm-thin they run in this process. Otherwise the guest boots once and the very same executable
//! runs inside with the same arguments; its output and exit status are passed on, so that
//! `cargo test --test loop_devices FILTER` is the same on both.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Trial};

use crate::fixtures::{BINARY, CRASH_BINARY, ROUNDS};
use crate::guest::{Event, Guest, Machine, Payload};
use crate::workspace;

/// The kind of a trial that needs the build with crash points:
/// `Trial::test("…", …).with_kind(KILLS)`.
pub const KILLS: &str = "kills";

/// Set inside the guest, so that a guest without device-mapper fails instead of booting another.
const IN_GUEST: &str = "THINMOVER_TESTS_IN_GUEST";

/// Runs the trials that the command line selects.
pub fn run(trials: Vec<Trial>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // LVM commands exclude each other, and a picture of the host must show one test's doing.
    arguments.test_threads.get_or_insert(1);
    let selected: Vec<&Trial> = trials.iter().filter(|trial| runs(&arguments, trial)).collect();
    let kills = selected.iter().any(|trial| trial.kind() == KILLS);
    let runs_any = !arguments.list && !selected.is_empty();
    if std::env::var_os(IN_GUEST).is_some() || !runs_any {
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    let done = if has_thin_provisioning() {
        build_for_this_host(kills).and_then(|environment| run_again_here(&environment))
    } else {
        run_in_guest(kills)
    };
    done.unwrap_or_else(|error| {
        eprintln!("the loop-device tests could not run: {error:#}");
        ExitCode::FAILURE
    })
}

/// Whether libtest-mimic runs this trial; in doubt yes, for then it decides itself.
fn runs(arguments: &Arguments, trial: &Trial) -> bool {
    let matches = |pattern: &str| {
        if arguments.exact { trial.name() == pattern } else { trial.name().contains(pattern) }
    };
    arguments.filter.as_deref().is_none_or(matches)
        && !arguments.skip.iter().any(|pattern| matches(pattern))
}

/// Root, device-mapper and dm-thin: what the trials need.
fn has_thin_provisioning() -> bool {
    if !nix::unistd::geteuid().is_root() {
        return false;
    }
    // Where it is built in there is nothing to load, and the next command decides.
    let _ = Command::new("modprobe").args(["--quiet", "dm_thin_pool"]).status();
    let targets = Command::new("dmsetup").arg("targets").output();
    targets.is_ok_and(|targets| String::from_utf8_lossy(&targets.stdout).contains("thin-pool"))
}

type Environment = Vec<(&'static str, PathBuf)>;

/// Installs the release build below the target folder and builds with crash points where needed,
/// unless the caller names binaries of its own.
fn build_for_this_host(kills: bool) -> Result<Environment> {
    let mut environment = Environment::new();
    if std::env::var_os(BINARY).is_none() {
        let installed = workspace::target_directory().join("installed");
        workspace::install_release(&installed)?;
        environment.push((BINARY, installed.join("usr/bin/thinmover")));
    }
    if kills && std::env::var_os(CRASH_BINARY).is_none() {
        environment.push((CRASH_BINARY, workspace::build_with_crash_points()?));
    }
    Ok(environment)
}

/// Runs this executable once more, with the environment the fixtures read.
fn run_again_here(environment: &Environment) -> Result<ExitCode> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).env(IN_GUEST, "no, natively");
    let status = command.envs(environment.iter().map(|(name, path)| (name, path))).status()?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

fn run_in_guest(kills: bool) -> Result<ExitCode> {
    let executable = std::env::current_exe().context("cannot find the test executable")?;
    let mut with = vec![executable.clone()];
    let mut command: Vec<OsString> = vec!["env".into(), format!("{IN_GUEST}=yes").into()];
    if kills {
        let binary = workspace::build_with_crash_points()?;
        command.push(variable(CRASH_BINARY, &binary));
        with.push(binary);
    }
    if let Some(rounds) = std::env::var_os(ROUNDS) {
        command.push(variable(ROUNDS, Path::new(&rounds)));
    }
    command.push(executable.into());
    command.extend(std::env::args_os().skip(1));

    let machine = Machine { payload: Payload::installed_with(with), ..Machine::default() };
    let mut guest = Guest::boot(&machine, None)?;
    guest.start(&command)?;
    loop {
        match guest.next_event()? {
            Event::Out(bytes) => std::io::stdout().write_all(&bytes)?,
            Event::Err(bytes) => std::io::stderr().write_all(&bytes)?,
            Event::Exited(status) => return Ok(ExitCode::from(status)),
        }
        std::io::stdout().flush()?;
    }
}

fn variable(name: &str, value: &Path) -> OsString {
    let mut text = OsString::from(format!("{name}="));
    text.push(value);
    text
}
