//! What a user types and sees: one file a subcommand, each turning arguments into a request to the agent, or under
//! `--standalone` a call of `engine`,
//! `lvm` or `repository`, and the answer into a report for people or JSON. Nothing here decides
//! what happens to a volume.

mod agent;
mod backup;
mod benchmark;
mod catalog;
mod confirm;
mod follow;
mod invocation;
mod job;
mod output;
mod password;
mod place;
mod pools;
mod progress;
mod repo;
mod restore;
mod s3;
mod service;
mod signals;
mod snapshot;
mod status;
mod thin;
mod volumes;
mod work;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::{Code, Failure};
use invocation::{GlobalArgs, Invocation};
use output::Done;

/// Moves LVM thin volumes off an edge host and back.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the agent: serves the socket and does jobs, as systemd starts it
    Agent(agent::Args),
    /// How the agent is, and what it does now
    Status(status::Args),
    /// Thin pools of this host: size, use and health
    Pools(pools::Args),
    /// Volumes of this host that can be backed up
    Volumes(volumes::Args),
    /// Thin snapshots made by thinmover
    #[command(subcommand)]
    Snapshot(snapshot::Command),
    /// Backups: make, list, show, verify and delete them
    #[command(subcommand)]
    Backup(backup::Command),
    /// Writes a backup to a volume, a block device or a file
    Restore(restore::Args),
    /// Jobs of the agent
    #[command(subcommand)]
    Job(job::Command),
    /// Repositories
    #[command(subcommand)]
    Repo(repo::Command),
    /// What this host can do: the limits of an upload and a restore
    #[command(subcommand)]
    Benchmark(benchmark::Command),
    /// What dm-thin's own metadata says, for looking into a pool
    #[command(subcommand)]
    Thin(thin::Command),
}

/// Runs the command line of this process.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&error),
    };
    let json = cli.global.json;
    match run(cli) {
        Ok(done) => ExitCode::from(done.exit_code()),
        Err(failure) => {
            output::print_failure(&failure, json);
            ExitCode::from(failure.code.exit_code())
        }
    }
}

fn run(cli: Cli) -> crate::failure::Result<Done> {
    if let Command::Agent(args) = &cli.command {
        return agent::run(args, &cli.global);
    }
    let invocation = Invocation::new(cli.global)?;
    match cli.command {
        Command::Agent(_) => Ok(Done::Clean),
        Command::Status(args) => status::run(&args, &invocation),
        Command::Job(command) => job::run(&command, &invocation),
        Command::Pools(args) => pools::run(&args, &invocation),
        Command::Volumes(args) => volumes::run(&args, &invocation),
        Command::Snapshot(command) => snapshot::run(&command, &invocation),
        Command::Backup(command) => backup::run(&command, &invocation),
        Command::Restore(args) => restore::run(&args, &invocation),
        Command::Repo(command) => repo::run(&command, &invocation),
        Command::Benchmark(command) => benchmark::run(&command, &invocation),
        Command::Thin(command) => thin::run(&command, &invocation),
    }
}

/// `--help` and `--version` are answers; anything else is a usage error, as JSON where that was
/// asked for.
fn not_parsed(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if error.use_stderr() && json {
        let message = error.to_string();
        let message = message.trim_start_matches("error: ").lines().next().unwrap_or_default();
        output::print_failure(&Failure::new(Code::Usage, message), true);
    } else {
        let _ = error.print();
    }
    ExitCode::from(if error.use_stderr() { Code::Usage.exit_code() } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
