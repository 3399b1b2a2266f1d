//! `thinmover repo maintain`

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use serde::Serialize;
use thinmover_repository::{Collected, CollectionEnd, Domain, MaintainOptions, RepackLimits};

use crate::cli::invocation::{Invocation, RepositoryArgs};
use crate::cli::output::{Done, Report, size};
use crate::cli::progress::Display;
use crate::cli::signals::cancel_on_signals;
use crate::config::Size;
use crate::failure::Result;
use crate::stream::Progress;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    repository: RepositoryArgs,
    /// Only what this host id stored; else all hosts' domains
    #[arg(long, value_name = "HOST-ID")]
    domain: Option<String>,
    /// How long to wait for uploads that are under way, e.g. 10m
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration)]
    wait: Duration,
    /// Keep uploads from committing that began longer ago than this, where the store can
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    fence_after: Duration,
    /// How much may be read and stored again, so that objects that are mostly dead or small can go;
    /// 0 for nothing
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    repack: Size,
    /// Folder for what does not fit in memory
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    scratch: PathBuf,
}

fn duration(text: &str) -> std::result::Result<Duration, String> {
    let duration: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Duration::try_from(duration).map_err(|_| "it is shorter than nothing".to_owned())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Maintained {
    deleted_bytes: u64,
    domains: Vec<MaintainedDomain>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MaintainedDomain {
    id: String,
    /// `finished`, `idle`, `waiting` or `contended`.
    end: &'static str,
    deleted_objects: u64,
    deleted_bytes: u64,
    merged_indexes: u64,
    repacked_bytes: u64,
    /// New digests of a volume's backups.
    digests: u64,
    /// What could not be repacked or refreshed, and why.
    warnings: Vec<String>,
    /// Uploads that were kept from committing.
    fenced: Vec<String>,
    /// Uploads that have not ended.
    waiting_for: Vec<String>,
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let repository = invocation.repository(&args.repository)?;
    let options = MaintainOptions {
        fence_after: Some(args.fence_after),
        wait: args.wait,
        memory_bytes: invocation.settings.data_path.memory_bytes,
        scratch: args.scratch.clone(),
        repack: RepackLimits { bytes: args.repack.bytes, ..RepackLimits::default() },
    };
    let domain = args.domain.clone().map(Domain);
    let cancel = cancel_on_signals()?;
    let progress = Progress::default();
    let display = Display::start(invocation.progress, &progress);
    let repository = repository.until(cancel.give_up());
    let report = repository.maintain(domain.as_ref(), &options, &mut |seen| {
        progress.set_phase(if seen.total > 0 {
            format!("{}: {} of {}", seen.phase, seen.done, seen.total)
        } else {
            seen.phase.to_owned()
        });
        if cancel.check().is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    drop(display);
    cancel.check()?;
    let domains: Vec<_> = report?.domains.into_iter().map(MaintainedDomain::new).collect();
    let warnings: Vec<_> = domains.iter().flat_map(MaintainedDomain::warnings).collect();
    let deleted_bytes = domains.iter().map(|domain| domain.deleted_bytes).sum();
    Ok(invocation.answer(&Maintained { deleted_bytes, domains }, &warnings))
}

impl MaintainedDomain {
    fn new((id, collected): (String, Collected)) -> Self {
        let (end, waiting_for) = match collected.end {
            CollectionEnd::Finished => ("finished", Vec::new()),
            CollectionEnd::Idle => ("idle", Vec::new()),
            CollectionEnd::Waiting { sessions } => ("waiting", sessions),
            CollectionEnd::Contended => ("contended", Vec::new()),
        };
        Self {
            id,
            end,
            deleted_objects: collected.deleted_containers,
            deleted_bytes: collected.deleted_bytes,
            merged_indexes: collected.merged_indexes,
            repacked_bytes: collected.repacked_bytes,
            digests: collected.digests,
            warnings: collected.warnings,
            fenced: collected.fenced,
            waiting_for,
        }
    }

    fn warnings(&self) -> Vec<String> {
        self.delay().into_iter().chain(self.warnings.clone()).collect()
    }

    fn delay(&self) -> Option<String> {
        let why = match self.end {
            "waiting" => format!(
                "{} uploads have not ended, the first is {}; the next maintenance tries again, and \
                 `thinmover repo session list` shows whose they are",
                self.waiting_for.len(),
                self.waiting_for.first()?
            ),
            "contended" => "somebody else maintains it just now".to_owned(),
            _ => return None,
        };
        Some(format!("nothing was deleted in domain {}: {why}", self.id))
    }
}

impl Report for Maintained {
    fn human(&self) -> String {
        let mut text = String::new();
        for domain in &self.domains {
            let _ = match domain.end {
                "idle" => writeln!(text, "Domain {}: nothing to do", domain.id),
                "finished" => writeln!(
                    text,
                    "Domain {}: {} in {} objects given back, {} indexes merged, {} repacked",
                    domain.id,
                    size(domain.deleted_bytes),
                    domain.deleted_objects,
                    domain.merged_indexes,
                    size(domain.repacked_bytes)
                ),
                _ => writeln!(text, "Domain {}: {}", domain.id, domain.end),
            };
            for session in &domain.fenced {
                let _ = writeln!(text, "  upload {session} was ended: it had begun too long ago");
            }
        }
        if self.domains.is_empty() {
            text.push_str("There is nothing in this repository\n");
        }
        text
    }
}
