//! `make bench`: measures this product and its peers side by side; see [`thinmover_tests::bench`].

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use thinmover_tests::bench::bucket;
use thinmover_tests::bench::cold::ColdCache;
use thinmover_tests::bench::limit::{self, Step};
use thinmover_tests::bench::machine::Machine;
use thinmover_tests::bench::measure;
use thinmover_tests::bench::report::{Report, VERSION};
use thinmover_tests::bench::rounds::{Bench, allocated_bytes};
use thinmover_tests::bench::thin_delta;
use thinmover_tests::bench::tools::{self, Wanted};
use thinmover_tests::bench::volume::Volume;
use thinmover_tests::workspace::target_directory;

/// Measures thinmover, its peers and the machine's limit on one generated volume.
#[derive(Parser)]
#[command(name = "make bench", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    options: Options,
}

#[derive(Args)]
struct Options {
    /// The volume's size, as 512MiB or 4GiB; a multiple of 4 MiB
    #[arg(long, value_parser = parse_size, default_value = "4GiB")]
    size: u64,
    /// How often each tool has its turn; figures are medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The peers: installed, all (builds what cargo and go can), none, or names with commas
    #[arg(long, default_value_t = Wanted::Installed)]
    peers: Wanted,
    /// Back up to a bucket of an S3 server that is started on this machine, and count its requests
    #[arg(long)]
    s3: bool,
    /// Where to put volume and repositories while it runs; target/bench if not given
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// The Markdown report; JSON and picture go beside it. target/bench/report.md if not given
    #[arg(long, value_name = "FILE")]
    write_to: Option<PathBuf>,
    /// Measure this thinmover instead of the release build
    #[arg(long, value_name = "FILE")]
    thinmover: Option<PathBuf>,
    /// Another volume of the same kind
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Another comparison, and the processes that a run is made of; it starts those itself.
#[derive(Subcommand)]
enum Part {
    /// Compare what two devices of a pool differ in, beside thin_delta
    ThinDelta(thin_delta::Arguments),
    /// Run a command and print what it took
    #[command(hide = true)]
    Measure(measure::Arguments),
    /// Back FILE up into FOLDER by the plainest program, as far as STEP
    #[command(hide = true)]
    Limit { step: Step, file: PathBuf, folder: PathBuf },
    /// Write as many bytes into FOLDER as FILE has that are not holes
    #[command(hide = true)]
    PlainWrite { file: PathBuf, folder: PathBuf },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A part's message goes into that of the run.
    let (prefix, done) = match cli.part {
        None => ("bench: ", bench(&cli.options)),
        Some(part @ Part::ThinDelta(_)) => ("bench: ", run(part)),
        Some(part) => ("", run(part)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{prefix}{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(part: Part) -> Result<()> {
    match part {
        Part::ThinDelta(arguments) => thin_delta::run(&arguments, &std::env::current_exe()?),
        Part::Measure(arguments) => measure::run(&arguments),
        Part::Limit { step, file, folder } => limit::back_up(&file, step, &folder),
        Part::PlainWrite { file, folder } => {
            limit::write_plainly(&folder.join("file"), allocated_bytes(&file)?)
        }
    }
}

fn bench(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "at least one round is needed");
    let date = jiff::Timestamp::now().to_string();
    let folder = options.folder.clone().unwrap_or_else(|| target_directory().join("bench"));
    let volume = Volume::new(options.size, options.seed)?;
    let (tools, mut not_measured) = tools::find(&options.peers, options.thinmover.as_deref())?;
    let cold = ColdCache::probe();
    std::fs::create_dir_all(&folder).with_context(|| format!("no {}", folder.display()))?;
    let machine = Machine::here(&folder);

    let harness = std::env::current_exe()?;
    let bench = Bench::prepare(&folder, &volume, cold, harness)?.over_s3(options.s3);
    let measured = bench.run(tools, options.rounds)?;
    drop(bench);
    not_measured.extend(measured.failed);

    let report = Report {
        version: VERSION,
        date,
        machine,
        volume_bytes: volume.shares_bytes(),
        seed: options.seed,
        server: options.s3.then_some(bucket::SERVER),
        caches: cold.describe(),
        tools: measured.tools,
        not_measured,
        limit: measured.limit,
    };
    let report = report.with_ratios();
    let path = options.write_to.clone().unwrap_or_else(|| folder.join("report.md"));
    report.write_to(&path)?;
    println!("\n{}", report.to_terminal());
    println!("Written to {}, .json and .svg", path.display());
    Ok(())
}

/// Bytes, with MiB or GiB.
fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match (text.strip_suffix("MiB"), text.strip_suffix("GiB")) {
        (Some(digits), _) => (digits, 20),
        (_, Some(digits)) => (digits, 30),
        _ => return Err("a size is a number with MiB or GiB, as 4GiB".to_owned()),
    };
    let count: u64 = digits.trim().parse().map_err(|_| "a size is a whole number".to_owned())?;
    count.checked_mul(1 << shift).ok_or_else(|| "the size is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(parse_size("4GiB"), Ok(4 << 30));
        assert_eq!(parse_size("512 MiB"), Ok(512 << 20));
        for bad in ["", "4", "4G", "GiB", "1.5GiB", "-1MiB", "99999999999999GiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
