//! `thinmover backup verify`

use std::fmt::Write as _;
use std::ops::ControlFlow;

use serde::Serialize;
use thinmover_repository::DamagedBackup;

use crate::cli::invocation::{Invocation, RepositoryArgs};
use crate::cli::output::{Done, Report, size};
use crate::cli::progress::Display;
use crate::cli::signals::cancel_on_signals;
use crate::failure::{Result, chain};
use crate::stream::Progress;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Backup id, or enough of its beginning
    id: String,
    #[command(flatten)]
    repository: RepositoryArgs,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verified {
    id: String,
    ok: bool,
    checked_bytes: u64,
    errors: Vec<Damage>,
    /// Further errors that are not listed.
    more_errors: u64,
}

#[derive(Serialize)]
struct Damage {
    object: String,
    range: Option<[u64; 2]>,
    message: String,
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let repository = invocation.repository(&args.repository)?;
    let manifest = match repository.find(&args.id)?.manifest {
        Ok(manifest) => manifest,
        Err(damaged) => {
            invocation.answer(&Verified::without_manifest(&damaged), &[]);
            return Ok(Done::Damaged);
        }
    };
    let cancel = cancel_on_signals()?;
    let progress = Progress::default();
    progress.set_phase("verifying");
    let display = Display::start(invocation.progress, &progress);
    let repository = repository.until(cancel.give_up());
    let report = repository.verify(&manifest, &mut |seen| {
        progress.set_total_bytes(seen.total_bytes);
        progress.set_done_bytes(seen.image_bytes);
        if cancel.check().is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    drop(display);
    cancel.check()?;
    let report = report?;
    let verified = Verified {
        id: manifest.id.clone(),
        ok: report.ok(),
        checked_bytes: report.checked_bytes,
        more_errors: report.more_errors,
        errors: report
            .errors
            .into_iter()
            .map(|error| Damage {
                object: error.object,
                range: error.range.map(|range| [range.start, range.end]),
                message: error.message,
            })
            .collect(),
    };
    let done = invocation.answer(&verified, &[]);
    if verified.ok { Ok(done) } else { Ok(Done::Damaged) }
}

impl Verified {
    fn without_manifest(damaged: &DamagedBackup) -> Self {
        let error =
            Damage { object: damaged.object(), range: None, message: chain(&damaged.error) };
        Self { id: damaged.id(), ok: false, checked_bytes: 0, errors: vec![error], more_errors: 0 }
    }
}

impl Report for Verified {
    fn human(&self) -> String {
        let mut text = String::new();
        for error in &self.errors {
            let _ = write!(text, "DAMAGED {}", error.object);
            if let Some([start, end]) = error.range {
                let _ = write!(text, " bytes {start} to {end}");
            }
            let _ = writeln!(text, ": {}", error.message);
        }
        let _ = match self.errors.len() as u64 + self.more_errors {
            0 => {
                writeln!(text, "Backup {} is whole: {} checked", self.id, size(self.checked_bytes))
            }
            damaged => writeln!(text, "Backup {} is damaged in {damaged} places", self.id),
        };
        text
    }
}
