//! Runs trials that need device-mapper where it is: here, or else in the test guest.
//!
//! The test executable's `main` hands its trials to [`run`]. Where the caller is root and the kernel
//! has dm-thin they run in this process. Otherwise guests boot, and the very same executable runs
//! inside with the same arguments, each time with its share of the trials. Output and exit status
//! are passed on, so that `cargo test --test loop_devices FILTER` is the same on both.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use libtest_mimic::{Arguments, Trial};

use crate::fixtures::{BINARY, CRASH_BINARY, ROUNDS};
use crate::guest::{Event, Guest, Machine, Payload};
use crate::workspace;

/// The kind of a trial that needs the build with crash points:
/// `Trial::test("…", …).with_kind(KILLS)`.
pub const KILLS: &str = "kills";

/// Set for the process that runs trials itself, in a guest or on this host: `I/N`, its share of
/// them. Without device-mapper it fails there instead of booting another guest.
const SHARE: &str = "THINMOVER_TESTS_SHARE";

/// Set in the test guest.
const GUEST: &str = "THINMOVER_TESTS_GUEST";

/// Guests that share the trials. LVM commands in one exclude each other, so that one guest keeps
/// hardly more than one processor busy.
const GUESTS: usize = 2;

/// Runs the trials that the command line selects.
pub fn run(trials: Vec<Trial>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // LVM commands exclude each other, and a picture of the host must show one test's doing.
    arguments.test_threads.get_or_insert(1);
    let selected: Vec<&Trial> = trials.iter().filter(|trial| runs(&arguments, trial)).collect();
    let kills = selected.iter().any(|trial| trial.kind() == KILLS);
    let runs_any = !arguments.list && !selected.is_empty();
    if let Ok(share) = std::env::var(SHARE) {
        return libtest_mimic::run(&arguments, shared(trials, &share)).exit_code();
    }
    if !runs_any {
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    let guests = if selected.len() > GUESTS { GUESTS } else { 1 };
    let done = if has_thin_provisioning() {
        build_for_this_host(kills).and_then(|environment| run_again_here(&environment))
    } else {
        run_in_guests(guests, kills)
    };
    done.unwrap_or_else(|error| {
        eprintln!("the loop-device tests could not run: {error:#}");
        ExitCode::FAILURE
    })
}

/// The trials of the share `I/N`: each N-th, from the I-th.
fn shared(trials: Vec<Trial>, share: &str) -> Vec<Trial> {
    let parts = share.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    let (first, step) = parts.unwrap_or((0, 1));
    trials.into_iter().skip(first).step_by(step).collect()
}

/// Whether libtest-mimic runs this trial; in doubt yes, for then it decides itself.
fn runs(arguments: &Arguments, trial: &Trial) -> bool {
    let matches = |pattern: &str| {
        if arguments.exact { trial.name() == pattern } else { trial.name().contains(pattern) }
    };
    arguments.filter.as_deref().is_none_or(matches)
        && !arguments.skip.iter().any(|pattern| matches(pattern))
}

/// Whether this is the test guest, where everything is installed: a trial that finds something missing
/// fails there and is never ignored.
pub fn is_guest() -> bool {
    std::env::var_os(GUEST).is_some()
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
    command.args(std::env::args_os().skip(1)).env(SHARE, "0/1");
    let status = command.envs(environment.iter().map(|(name, path)| (name, path))).status()?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// Runs this executable in several guests, each with its share of the trials.
fn run_in_guests(guests: usize, kills: bool) -> Result<ExitCode> {
    let executable = std::env::current_exe().context("cannot find the test executable")?;
    let mut with = vec![executable.clone()];
    let mut command: Vec<OsString> = vec!["env".into(), format!("{GUEST}=1").into()];
    if kills {
        let binary = workspace::build_with_crash_points()?;
        command.push(variable(CRASH_BINARY, &binary));
        with.push(binary);
    }
    if let Some(rounds) = std::env::var_os(ROUNDS) {
        command.push(variable(ROUNDS, Path::new(&rounds)));
    }
    let machine = Machine { payload: Payload::installed_with(with), ..Machine::default() };
    let statuses = std::thread::scope(|scope| {
        let running: Vec<_> = (0..guests)
            .map(|share| {
                let mut command = command.clone();
                command.push(format!("{SHARE}={share}/{guests}").into());
                command.push(executable.clone().into());
                command.extend(std::env::args_os().skip(1));
                let machine = &machine;
                scope.spawn(move || run_in_guest(machine, &command))
            })
            .collect();
        let ended = running.into_iter().map(|guest| guest.join());
        ended.map(|guest| guest.unwrap_or_else(|_| bail!("a guest's thread panicked"))).collect()
    });
    let statuses: Vec<Result<u8>> = statuses;
    let statuses = statuses.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(ExitCode::from(statuses.into_iter().max().unwrap_or(1)))
}

/// Runs a command in a guest of its own and returns its exit status. What it prints is passed on by
/// whole lines, as another guest prints too.
fn run_in_guest(machine: &Machine, command: &[OsString]) -> Result<u8> {
    let mut guest = Guest::boot(machine, None)?;
    guest.start(command)?;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        match guest.next_event()? {
            Event::Out(bytes) => pass_on(&mut out, &bytes, &mut std::io::stdout())?,
            Event::Err(bytes) => pass_on(&mut err, &bytes, &mut std::io::stderr())?,
            Event::Exited(status) => {
                std::io::stdout().write_all(&out)?;
                std::io::stderr().write_all(&err)?;
                return Ok(status);
            }
        }
    }
}

/// Writes what is whole lines of `held` and `bytes`, and holds the rest.
fn pass_on(held: &mut Vec<u8>, bytes: &[u8], to: &mut impl Write) -> Result<()> {
    held.extend_from_slice(bytes);
    if let Some(end) = held.iter().rposition(|&byte| byte == b'\n') {
        to.write_all(&held[..=end])?;
        to.flush()?;
        held.drain(..=end);
    }
    Ok(())
}

fn variable(name: &str, value: &Path) -> OsString {
    let mut text = OsString::from(format!("{name}="));
    text.push(value);
    text
}
