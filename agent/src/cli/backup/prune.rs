//! `thinmover backup prune`

use jiff::{Span, Timestamp};
use serde::Serialize;

use super::Selection;
use crate::cli::catalog::Catalog;
use crate::cli::confirm::confirm;
use crate::cli::invocation::Invocation;
use crate::cli::output::{Done, Report, table, time};
use crate::failure::{Code, Failure, Result};
use crate::retention::{Period, Policy, Verdict};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    keep: Keep,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
}

/// Each rule holds for each volume of each host by itself.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What is kept of each volume")]
struct Keep {
    /// The newest N backups
    #[arg(long, value_name = "N", value_parser = count())]
    keep_last: Option<u32>,
    /// The newest one of each of the latest N hours that have any
    #[arg(long, value_name = "N", value_parser = count())]
    keep_hourly: Option<u32>,
    /// The same, of days (of UTC)
    #[arg(long, value_name = "N", value_parser = count())]
    keep_daily: Option<u32>,
    /// The same, of weeks, which begin on Monday
    #[arg(long, value_name = "N", value_parser = count())]
    keep_weekly: Option<u32>,
    /// The same, of months
    #[arg(long, value_name = "N", value_parser = count())]
    keep_monthly: Option<u32>,
    /// The same, of years
    #[arg(long, value_name = "N", value_parser = count())]
    keep_yearly: Option<u32>,
    /// All that are not older than this, e.g. 72h, 30d or 6mo
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    keep_within: Option<Span>,
}

fn count() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

fn parse_span(text: &str) -> std::result::Result<Span, String> {
    let span: Span = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    if span.is_positive() { Ok(span) } else { Err("it is longer than nothing".into()) }
}

impl Keep {
    fn policy(&self) -> Policy {
        let count = |given: Option<u32>| given.unwrap_or(0);
        Policy {
            last: count(self.keep_last),
            periods: vec![
                (Period::Hour, count(self.keep_hourly)),
                (Period::Day, count(self.keep_daily)),
                (Period::Week, count(self.keep_weekly)),
                (Period::Month, count(self.keep_monthly)),
                (Period::Year, count(self.keep_yearly)),
            ],
            within: self.keep_within,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pruned {
    kept: Vec<Judged>,
    deleted: Vec<Judged>,
    dry_run: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Judged {
    id: String,
    source: String,
    host: String,
    created_at: Timestamp,
    /// Why it is kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

impl From<Verdict> for Judged {
    fn from(verdict: Verdict) -> Self {
        let Verdict { backup, reasons } = verdict;
        let created_at = backup.created_at;
        Self { id: backup.id, source: backup.source, host: backup.host, created_at, reasons }
    }
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let (catalog, listed) = args.selection.read(invocation)?;
    let warnings: Vec<_> = listed
        .damaged
        .iter()
        .map(|backup| {
            format!("backup {} cannot be read and is left: {}", backup.id, backup.message)
        })
        .collect();
    let verdicts = args
        .keep
        .policy()
        .judge(listed.backups, Timestamp::now())
        .map_err(|error| Failure::new(Code::Usage, format!("--keep-within: {error}")))?;
    let (kept, deleted): (Vec<Judged>, Vec<Judged>) =
        verdicts.into_iter().map(Judged::from).partition(|judged| !judged.reasons.is_empty());
    let pruned = Pruned { kept, deleted, dry_run: args.dry_run };
    if !args.dry_run && !pruned.deleted.is_empty() {
        let counts = (pruned.deleted.len(), pruned.kept.len());
        confirm(
            &format!("this deletes {} of {} backups", counts.0, counts.0 + counts.1),
            args.yes,
        )?;
        delete(&catalog, &pruned.deleted)?;
    }
    Ok(invocation.answer(&pruned, &warnings))
}

/// Deletes them, the oldest of a volume first, so that what is left when one fails are the newer ones.
fn delete(catalog: &Catalog, backups: &[Judged]) -> Result<()> {
    for (done, backup) in backups.iter().rev().enumerate() {
        match catalog.delete(&backup.id) {
            // Another one was quicker.
            Err(failure) if failure.code == Code::NotFound => {}
            Err(mut failure) => {
                failure.message = format!(
                    "{done} of {} backups were deleted, then {}: {}",
                    backups.len(),
                    backup.id,
                    failure.message
                );
                return Err(failure);
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

impl Report for Pruned {
    fn human(&self) -> String {
        let row = |judged: &Judged| {
            let verdict = match (judged.reasons.as_slice(), self.dry_run) {
                ([], true) => "would be deleted".to_owned(),
                ([], false) => "deleted".to_owned(),
                (reasons, _) => format!("kept: {}", reasons.join(", ")),
            };
            let (created, host) = (time(judged.created_at), judged.host.clone());
            [judged.id.clone(), created, host, judged.source.clone(), verdict]
        };
        let rows: Vec<_> = self.kept.iter().chain(&self.deleted).map(row).collect();
        if rows.is_empty() {
            return "No backups.\n".into();
        }
        let text = table(["BACKUP", "CREATED", "HOST", "SOURCE", "VERDICT"], &[], &rows);
        let (kept, deleted) = (self.kept.len(), self.deleted.len());
        let would = if self.dry_run { "Would delete" } else { "Deleted" };
        format!("{text}{would} {deleted} of {} backups.\n", kept + deleted)
    }
}
