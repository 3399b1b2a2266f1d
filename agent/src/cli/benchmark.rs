//! `thinmover benchmark …`

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use thinmover_repository::BLOCK_BYTES_DEFAULT;

use super::invocation::Invocation;
use super::output::{Done, Report, size, table};
use super::signals::cancel_on_signals;
use crate::benchmark::{Figure, compression, disk, encryption, hashing};
use crate::config::Size;
use crate::failure::{Code, Failure, Result};

/// What a file to measure with may be long, in bytes.
const SIZES: RangeInclusive<u64> = (1 << 20)..=(1 << 40);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// How fast blocks get their ids, on one core
    Hashing,
    /// How fast blocks are encrypted and authenticated, on one core
    Encryption,
    /// How fast blocks are compressed and decompressed, on one core
    Compression,
    /// How fast a disk writes and reads, through each I/O engine
    Io(DiskArgs),
    /// All of these
    All(DiskArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct DiskArgs {
    /// Where to write a file without a name, which is gone afterwards
    #[arg(long, default_value = ".")]
    folder: PathBuf,
    /// How long that file gets
    #[arg(long, default_value = "1GiB")]
    size: Size,
}

#[derive(Serialize)]
struct Benchmarks {
    benchmarks: Vec<Figure>,
}

pub(super) fn run(command: &Command, invocation: &Invocation) -> Result<Done> {
    let (benchmarks, notes) = match command {
        Command::Hashing => (hashing()?, Vec::new()),
        Command::Encryption => (encryption()?, Vec::new()),
        Command::Compression => (compression()?, Vec::new()),
        Command::Io(args) => on_disk(args, invocation)?,
        Command::All(args) => {
            let mut figures = [hashing()?, encryption()?, compression()?].concat();
            let (measured, notes) = on_disk(args, invocation)?;
            figures.extend(measured);
            (figures, notes)
        }
    };
    for note in notes {
        eprintln!("thinmover: note: {note}");
    }
    Ok(invocation.answer(&Benchmarks { benchmarks }, &[]))
}

fn on_disk(args: &DiskArgs, invocation: &Invocation) -> Result<(Vec<Figure>, Vec<String>)> {
    if !SIZES.contains(&args.size.bytes) {
        return Err(Failure::new(Code::Usage, "--size is from 1MiB to 1TiB"));
    }
    let bytes = args.size.bytes.next_multiple_of(*SIZES.start());
    let cancel = cancel_on_signals()?;
    let limits = invocation.settings.data_path.limits(BLOCK_BYTES_DEFAULT)?;
    disk(&args.folder, bytes, &limits, &cancel)
}

impl Report for Benchmarks {
    fn human(&self) -> String {
        let rows: Vec<_> = self
            .benchmarks
            .iter()
            .map(|figure| {
                [
                    figure.benchmark.to_owned(),
                    figure.name.clone(),
                    format!("{}/s", size(figure.bytes_per_second)),
                    figure.ratio.map_or_else(String::new, |ratio| format!("{ratio:.1}:1")),
                ]
            })
            .collect();
        table(["BENCHMARK", "OF", "SPEED", "RATIO"], &[2, 3], &rows)
    }
}
