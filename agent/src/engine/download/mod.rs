//! A download: a backup written to a volume, a block device or a file. [`target`] opens that, [`write`]
//! fills it. [`delta`] finds out what of it need not be written, by [`suspects`] what need not even be
//! compared; [`report`] says what was done.

mod delta;
mod report;
mod suspects;
mod target;
mod write;

use std::time::Instant;

use serde::{Deserialize, Serialize};
use thinmover_repository::{Image, Manifest, ReadLimits, Repository};

use super::choose::{self, Latest};
use super::context::Context;
use super::shared::{Engine, Found};
use crate::failure::Result;
use crate::stream::Limits;
pub(crate) use report::DownloadReport;

/// What is asked of a download.
#[derive(Clone, Debug)]
pub(crate) struct DownloadSpec {
    pub(crate) backup: Which,
    /// `VG/LV`, an LV name or UUID, or a path.
    pub(crate) target: String,
    /// The pool in which `target` (`VG/LV`) is made first.
    pub(crate) create_in_pool: Option<String>,
    pub(crate) mode: RestoreMode,
    /// Whether a snapshot of the target is made before it is overwritten, which stays.
    pub(crate) undo: bool,
    /// Whether what the target holds may be lost.
    pub(crate) overwrite: bool,
    /// Whether to stop before anything is written.
    pub(crate) dry_run: bool,
}

/// How a target that holds something is made the backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RestoreMode {
    /// All of it is written.
    #[default]
    Full,
    /// It is compared, and what differs is written.
    Delta,
}

/// Which backup.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    /// The one whose id is, or begins with, this.
    Id(String),
    Latest(Latest),
}

impl Engine {
    /// Writes a backup to a target. A target that was made for it is removed again when that
    /// fails; one that was there keeps what was written, without its first image block, and a volume a
    /// mark that it is half restored.
    ///
    /// # Errors
    /// What happened, to what, and what to do next. Before the first byte is written:
    /// `TargetTooSmall`, `Busy`, `ConfirmationNeeded` and the like, with nothing changed.
    pub(crate) fn download(
        &self,
        repository: &Repository,
        spec: &DownloadSpec,
        context: &Context<'_>,
    ) -> Result<DownloadReport> {
        let repository = &repository.until(context.cancel.give_up());
        let job = Job { engine: self, repository, spec, context, started: Instant::now() };
        job.run().map_err(|failure| context.cause(failure))
    }
}

struct Job<'a> {
    engine: &'a Engine,
    repository: &'a Repository,
    spec: &'a DownloadSpec,
    context: &'a Context<'a>,
    started: Instant,
}

impl Job<'_> {
    fn run(&self) -> Result<DownloadReport> {
        let Self { engine, spec, context, .. } = *self;
        context.progress.set_phase("preparing");
        if let Some(pool) = &spec.create_in_pool {
            return self.to_new_volume(pool);
        }
        match engine.find(&spec.target, &context.scope)? {
            Found::Volume(found) => self.to_volume(*found),
            Found::Path(path) => self.to_path(&path),
        }
    }

    /// The backup that is meant, for a target with this identity; one that fits into the memory.
    fn backup(&self, identity: &str) -> Result<Manifest> {
        let manifest = self.named_backup(identity)?;
        self.limits(manifest.image_root()?.block_bytes())?;
        Ok(manifest)
    }

    fn named_backup(&self, identity: &str) -> Result<Manifest> {
        match &self.spec.backup {
            Which::Id(id) => Ok(self.repository.backup(id)?),
            Which::Latest(latest) => {
                let filter = choose::filter(latest, identity, &self.engine.host);
                let backups = self.repository.backups(&filter)?;
                choose::latest(&backups.live, latest).cloned().map_err(|failure| {
                    failure.context(filter.source.as_deref().unwrap_or(identity))
                })
            }
        }
    }

    fn image(&self, manifest: &Manifest) -> Result<Image> {
        let limits = self.limits(manifest.image_root()?.block_bytes())?;
        // A base that is open beside it has an index of its own.
        let share = if self.spec.mode == RestoreMode::Delta { 2 } else { 1 };
        let reading = ReadLimits { index_cache_bytes: limits.index_bytes / share };
        Ok(self.repository.image(manifest, reading)?)
    }

    fn limits(&self, block_bytes: u32) -> Result<Limits> {
        Ok(self.engine.settings.data_path.limits(block_bytes)?)
    }

    fn report(&self, manifest: &Manifest, blank: bool, warnings: Vec<String>) -> DownloadReport {
        DownloadReport {
            id: manifest.id.clone(),
            job: self.context.id.clone(),
            source: manifest.source.name.clone(),
            target: self.spec.target.clone(),
            total_bytes: manifest.total_bytes,
            written_bytes: 0,
            discarded_bytes: 0,
            read_bytes: 0,
            mode: self.spec.mode,
            tier: None,
            reason: None,
            differing_bytes: None,
            undo_snapshot: None,
            seconds: self.started.elapsed().as_secs_f64(),
            blank,
            dry_run: self.spec.dry_run,
            page_cache: false,
            warnings,
        }
    }
}
