//! `bench thin-delta`: `thinmover thin delta` beside `thin_delta` of thin-provisioning-tools, on the
//! same metadata in pairs.
//!
//! The two devices share no node, so both tools read all of both trees. One file has its leaves in the
//! order in which `thin_restore` writes them, the other scattered by chance: the best and the worst that
//! a pool's metadata can be. Who does not find what there is has no figures.

mod metadata;
mod report;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use self::metadata::{FROM, TO, with_sbin};
use self::report::{Pair, Report, Series};
use super::cold::ColdCache;
use super::machine::Machine;
use super::measure::measured;
use super::tools::output;
use crate::workspace::target_directory;

/// What `bench thin-delta` is told.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// How many mappings each of the two devices has, about
    #[arg(long, default_value_t = 1 << 24)]
    mappings: u64,
    /// How many pairs are measured of each file
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Where to put the metadata while it runs; target/bench if not given
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// The report as Markdown; on standard output if not given
    #[arg(long, value_name = "FILE")]
    write_to: Option<PathBuf>,
    /// Measure this thinmover instead of the release build
    #[arg(long, value_name = "FILE")]
    thinmover: Option<PathBuf>,
}

/// Runs all of it. `harness` is the executable whose subcommand measures a command.
///
/// # Errors
/// When a tool is missing, fails or finds something else, or there is no room.
pub fn run(arguments: &Arguments, harness: &Path) -> Result<()> {
    ensure!(arguments.rounds > 0 && arguments.mappings >= 1 << 16, "that is too little");
    let parent = arguments.folder.clone().unwrap_or_else(|| target_directory().join("bench"));
    std::fs::create_dir_all(&parent)?;
    let folder = tempfile::Builder::new().prefix("thin-delta.").tempdir_in(&parent)?;
    let [ordered, scattered] = ["ordered", "scattered"].map(|name| folder.path().join(name));
    eprintln!("bench: making metadata");
    metadata::restore(arguments.mappings, &ordered)?;
    let leaves = metadata::scatter(&ordered, &scattered, 1)?;

    let built = || target_directory().join("release/thinmover");
    let thinmover = std::path::absolute(arguments.thinmover.clone().unwrap_or_else(built))?;
    let comparison =
        Comparison { folder: folder.path(), harness, thinmover, cold: ColdCache::probe() };
    let mut series = Vec::new();
    for (name, file) in
        [("in order, as thin_restore writes them", &ordered), ("scattered by chance", &scattered)]
    {
        eprintln!("bench: leaves {name}");
        series.push(Series { leaves: name, pairs: comparison.pairs(file, arguments.rounds)? });
    }
    let report = Report {
        date: jiff::Timestamp::now().to_string(),
        thinmover: version(Command::new(&comparison.thinmover))?,
        thin_delta: version(Command::new("thin_delta"))?,
        mappings: arguments.mappings,
        leaves,
        caches: comparison.cold.describe(),
        machine: Machine::here(folder.path()),
        series,
    };
    match &arguments.write_to {
        Some(file) => std::fs::write(file, report.markdown())
            .with_context(|| format!("cannot write {}", file.display())),
        None => {
            print!("{}", report.markdown());
            Ok(())
        }
    }
}

fn version(mut command: Command) -> Result<String> {
    command.arg("--version");
    let printed = output(with_sbin(command))?;
    Ok(printed.split_whitespace().next_back().unwrap_or_default().to_owned())
}

/// Where and how pairs are measured.
struct Comparison<'a> {
    folder: &'a Path,
    harness: &'a Path,
    thinmover: PathBuf,
    cold: ColdCache,
}

/// Chunks that were found to be written and discarded.
type Found = (u64, u64);

impl Comparison<'_> {
    /// Each pair one after the other, and now the one first, now the other.
    fn pairs(&self, file: &Path, rounds: usize) -> Result<Vec<Pair>> {
        let log = self.folder.join("log");
        let run = |command: Command, found: fn(&str) -> Result<Found>| {
            self.cold.empty(&[self.folder])?;
            let figures = measured(self.harness, &command, self.folder, &log)?;
            anyhow::Ok((figures, found(&std::fs::read_to_string(&log)?)?))
        };
        let mut pairs = Vec::new();
        for round in 0..rounds {
            let ours = || run(self.ours(file), found_by_us);
            let theirs = || run(theirs(file), found_by_them);
            let (ours, theirs) = if round % 2 == 0 {
                let first = ours()?;
                (first, theirs()?)
            } else {
                let first = theirs()?;
                (ours()?, first)
            };
            if ours.1 != theirs.1 {
                bail!("thinmover found {:?}, thin_delta {:?}", ours.1, theirs.1);
            }
            let pair = Pair { thinmover: ours.0, thin_delta: theirs.0 };
            eprintln!(
                "bench:   {:.2} s, thin_delta {:.2} s",
                pair.thinmover.wall_seconds, pair.thin_delta.wall_seconds
            );
            pairs.push(pair);
        }
        Ok(pairs)
    }

    fn ours(&self, file: &Path) -> Command {
        let mut command = Command::new(&self.thinmover);
        command.args(["--json", "thin", "delta"]).arg(file);
        command.args(["--from", &FROM.to_string(), "--to", &TO.to_string()]);
        command
    }
}

fn theirs(file: &Path) -> Command {
    let mut command = Command::new("thin_delta");
    command.args(["--thin1", &FROM.to_string(), "--thin2", &TO.to_string()]).arg(file);
    with_sbin(command)
}

fn found_by_us(printed: &str) -> Result<Found> {
    let document: Value = serde_json::from_str(printed).context("thinmover printed no document")?;
    let chunks = |name: &str| {
        let bytes = document[name].as_u64().unwrap_or(u64::MAX);
        bytes / document["chunkBytes"].as_u64().unwrap_or(1).max(1)
    };
    Ok((chunks("writtenBytes"), chunks("discardedBytes")))
}

fn found_by_them(printed: &str) -> Result<Found> {
    let (mut written, mut discarded) = (0, 0);
    for line in printed.lines().map(str::trim) {
        let length = || -> Result<u64> {
            let rest = line.split_once("length=\"").map_or("", |(_, rest)| rest);
            let digits = rest.split('"').next().unwrap_or_default();
            digits.parse().with_context(|| format!("thin_delta printed {line}"))
        };
        if line.starts_with("<different") || line.starts_with("<right_only") {
            written += length()?;
        } else if line.starts_with("<left_only") {
            discarded += length()?;
        }
    }
    Ok((written, discarded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_answers_are_counted_in_chunks() {
        let ours = r#"{"chunkBytes":65536,"writtenBytes":131072,"discardedBytes":65536}"#;
        let theirs = "<diff left=\"1\" right=\"2\">\n  <same begin=\"0\" length=\"9\"/>\n  \
                      <different begin=\"9\" length=\"1\"/>\n  <right_only begin=\"10\" length=\"1\"/>\n\
                      <left_only begin=\"11\" length=\"1\"/>\n</diff>\n";
        assert_eq!(found_by_us(ours).unwrap(), (2, 1));
        assert_eq!(found_by_them(theirs).unwrap(), (2, 1));
        assert!(found_by_us("").is_err() && found_by_them("<different/>").is_err());
    }
}
