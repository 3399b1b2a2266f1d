//! `thinmover backup create`

use std::fmt::Write as _;

use clap::ValueEnum;
use jiff::SignedDuration;
use serde::Serialize;

use crate::cli::invocation::{Invocation, RepositoryArgs};
use crate::cli::output::{Done, Report, page_cache_note, size};
use crate::cli::place::place;
use crate::cli::work::Worker;
use crate::config::Size;
use crate::engine::{CopyMethod, UploadReport};
use crate::failure::Result;
use crate::jobs::{Kind, spec};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Volume (VG/LV, LV name or LV UUID), block device or image file
    #[arg(required = true, value_name = "SOURCE", value_parser = place)]
    sources: Vec<String>,
    #[command(flatten)]
    repository: RepositoryArgs,
    /// What a backup holds: the volume's blocks is all there is so far
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// What to read: a thin snapshot made for the purpose, or the source itself
    #[arg(long, value_enum, value_name = "METHOD")]
    copy_method: Option<CopyMethodArg>,
    /// Label to find the backup by; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// How long the backup is wanted, e.g. 720h
    #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
    ttl: Option<SignedDuration>,
    /// Size of an image block, 64KiB to 8MiB; what changes within one is stored as one
    #[arg(long, value_name = "SIZE")]
    block_size: Option<Size>,
    /// What to take unchanged blocks from: the last backup where that can be trusted, or nothing
    #[arg(long, value_name = "auto|none|ID")]
    parent: Option<String>,
    /// Hand the job to the agent and return its id at once
    #[arg(long)]
    detach: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Mode {
    #[default]
    Block,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CopyMethodArg {
    Snapshot,
    Direct,
}

fn parse_label(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is KEY=VALUE".into()),
    }
}

fn parse_ttl(text: &str) -> std::result::Result<SignedDuration, String> {
    let ttl: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    if ttl.is_positive() { Ok(ttl) } else { Err("a ttl is longer than nothing".into()) }
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let worker = Worker::new(invocation, Kind::Upload, &args.repository)?;
    let Mode::Block = args.mode;
    if args.detach {
        let jobs = args
            .sources
            .iter()
            .map(|source| Ok(Submitted { job: worker.submit(&args.spec(source))? }));
        return Ok(invocation.answer(&Detached(jobs.collect::<Result<_>>()?), &[]));
    }
    let mut reports: Vec<UploadReport> = Vec::new();
    for source in &args.sources {
        let report = worker.run(&args.spec(source));
        reports.push(report.map_err(|failure| match reports.len() {
            0 => failure,
            done => {
                failure.context(format!(
                    "{done} of {} backups made, then {source}",
                    args.sources.len()
                ))
            }
        })?);
    }
    let warnings: Vec<_> = reports.iter().flat_map(|report| report.warnings.clone()).collect();
    Ok(invocation.answer(&Created(reports), &warnings))
}

impl Args {
    fn spec(&self, source: &str) -> spec::Upload {
        spec::Upload {
            source: spec::Volume { volume: source.to_owned() },
            copy_method: self.copy_method.map(|method| match method {
                CopyMethodArg::Snapshot => CopyMethod::Snapshot,
                CopyMethodArg::Direct => CopyMethod::Direct,
            }),
            parent: self.parent.clone(),
            labels: self.labels.iter().cloned().collect(),
            ttl: self.ttl.map(|ttl| format!("{ttl:#}")),
            block_bytes: self.block_size.map(|size| size.bytes),
            ..spec::Upload::default()
        }
    }
}

/// Jobs that were handed to the agent.
#[derive(Serialize)]
struct Detached(Vec<Submitted>);

#[derive(Serialize)]
struct Submitted {
    job: String,
}

impl Report for Detached {
    fn human(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, Submitted { job }| {
            let _ = writeln!(text, "Job {job} (`thinmover job watch {job}` shows it)");
            text
        })
    }
}

/// One source answers with an object, several with an array of them.
struct Created(Vec<UploadReport>);

impl Serialize for Created {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl Report for Created {
    fn human(&self) -> String {
        self.0.iter().map(Report::human).collect()
    }
}

impl Report for UploadReport {
    fn human(&self) -> String {
        format!(
            "Backup {} of {}\n  read   {} of {} in {:.1} s (tier {}: {})\n  stored {} for {} that was new\n{}",
            self.id,
            self.source,
            size(self.read_bytes),
            size(self.total_bytes),
            self.seconds,
            self.tier,
            self.reason,
            size(self.stored_bytes),
            size(self.new_bytes),
            page_cache_note(self.page_cache),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_need_a_key_and_a_value() {
        assert_eq!(parse_label("app=db").unwrap(), ("app".into(), "db".into()));
        assert_eq!(parse_label("app=a=b").unwrap(), ("app".into(), "a=b".into()));
        assert!(parse_label("app").is_err());
        assert!(parse_label("=db").is_err());
    }

    #[test]
    fn a_ttl_is_a_positive_time() {
        assert_eq!(parse_ttl("720h").unwrap(), SignedDuration::from_hours(720));
        for text in ["", "720", "0h", "-1h", "forever"] {
            assert!(parse_ttl(text).is_err(), "{text}");
        }
    }
}
