//! A download: a backup written to a volume, a block device or a file. [`delta`] finds out what of it need
//! not be written, by [`suspects`] what need not even be compared; [`report`] says what was done.

mod delta;
mod report;
mod suspects;

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use thinmover_io::{DirectFile, IoFile};
use thinmover_lvm::{Bytes, LvName, Purpose, Target, Volume, direct};
use thinmover_repository::{BLOCK_BYTES_DEFAULT, Image, Manifest, ReadLimits, Repository};

use super::choose::{self, Latest};
use super::context::{Context, Milestone};
use super::pool_watch::PoolWatch;
use super::shared::{Engine, Found, FoundVolume, lock_file};
use super::upload::base::{Last, last, place};
use crate::failure::{Code, Failure, Result, chain};
use crate::stream::{self, BlockRuns, Download, Limits};
use delta::Delta;
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

    fn to_new_volume(&self, pool: &str) -> Result<DownloadReport> {
        let lvm = &self.engine.lvm;
        let usage = |message: String| Failure::new(Code::Usage, message);
        if self.spec.undo {
            return Err(no_undo(&self.spec.target));
        }
        let (vg, name) = self.spec.target.split_once('/').ok_or_else(|| {
            usage(format!("with --create the target is VG/LV, not `{}`", self.spec.target))
        })?;
        let name = LvName::new(name).map_err(|error| Failure::from_error(Code::Usage, &error))?;
        self.context.scope.check_group(vg)?;
        let warnings = self.engine.recover()?;
        let inventory = lvm.inventory()?;
        let pool = inventory.find_pool(pool)?;
        if pool.vg.as_str() != vg {
            return Err(usage(format!("pool {} is not in volume group {vg}", pool.alias())));
        }
        let manifest = self.backup(&self.spec.target)?;
        let limits = self.engine.settings.pool_limits;
        if self.spec.dry_run {
            return Ok(self.report(&manifest, true, warnings));
        }
        let size = Bytes(manifest.total_bytes);
        let target = lvm.create_target(pool, &name, size, &limits)?;
        let watch = PoolWatch::start(lvm, pool, limits, &self.context.cancel);
        let mut goal = Goal::new(true, warnings);
        let report = self.open_lv(&target, &mut goal).and_then(|file| {
            let image = self.image(&manifest)?;
            self.write(&manifest, &image, &file, goal)
        });
        drop(watch);
        self.end(target, report)
    }

    fn to_volume(&self, found: FoundVolume) -> Result<DownloadReport> {
        let FoundVolume { volume, pool, mut warnings } = found;
        let lvm = &self.engine.lvm;
        let _lock = lvm.lock_volume(&volume.uuid)?;
        let identity = volume.uuid.as_str();
        let manifest = self.backup(identity)?;
        self.check_size(&manifest, volume.size)?;
        let last = match self.spec.mode {
            RestoreMode::Full => Last::default(),
            RestoreMode::Delta => {
                let (domain, of) = place(self.engine, identity);
                let find = |id: &str| self.repository.backup_of(&domain, &of, id);
                last(self.engine, self.repository, identity, find, &mut warnings)?
            }
        };
        if let Some(pool) = pool.as_ref().filter(|_| !self.spec.dry_run) {
            self.engine.give_way(&volume, pool, &mut warnings)?;
        }
        let mut target = lvm.open_target(&volume)?;
        let watch = pool.map(|pool| {
            PoolWatch::start(lvm, &pool, self.engine.settings.pool_limits, &self.context.cancel)
        });
        let mut goal = Goal::new(false, warnings);
        goal.is_source = manifest.source.uuid.as_deref() == Some(identity);
        let report = self.open_lv(&target, &mut goal).and_then(|file| {
            goal.volume =
                Some(ExistingVolume { volume: &volume, target: &mut target, last: &last });
            self.overwrite(&manifest, &file, goal)
        });
        drop(watch);
        self.end(target, report)
    }

    fn end(&self, target: Target, report: Result<DownloadReport>) -> Result<DownloadReport> {
        match report {
            Ok(report) => {
                target.finish()?;
                Ok(report)
            }
            Err(failure) => {
                let mut failure = self.context.cause(failure);
                if target.is_marked() {
                    failure.message = format!(
                        "{}; {} is half restored and marked so, a restore to it can be run again",
                        failure.message,
                        target.alias()
                    );
                }
                if let Err(error) = target.abandon() {
                    failure.message = format!("{}; also, {}", failure.message, chain(&error));
                }
                Err(failure)
            }
        }
    }

    fn to_path(&self, path: &Path) -> Result<DownloadReport> {
        let path = std::path::absolute(path)
            .map_err(|error| Failure::new(Code::Failed, format!("{}: {error}", path.display())))?;
        let identity = path.to_string_lossy();
        let manifest = self.backup(&identity)?;
        if self.spec.dry_run && !path.exists() {
            return Ok(self.report(&manifest, true, Vec::new()));
        }
        if self.spec.undo {
            return Err(no_undo(&self.spec.target));
        }
        let target = direct::open_target(&path, Bytes(manifest.total_bytes))?;
        self.check_size(&manifest, target.size())?;
        let _lock = lock_file(target.file()?, &path)?;
        let file = self.open(target.file()?)?;
        let mut goal = Goal::new(target.is_new(), Vec::new());
        goal.unseen = target.is_new();
        goal.is_source = manifest.source.uuid.is_none()
            && manifest.source.name == identity
            && manifest.source.host == self.engine.host.id.to_string();
        let report = if target.is_new() {
            self.write(&manifest, &self.image(&manifest)?, &file, goal)?
        } else {
            self.overwrite(&manifest, &file, goal)?
        };
        drop(file);
        target.finish()?;
        Ok(report)
    }

    fn check_size(&self, manifest: &Manifest, size: Bytes) -> Result<()> {
        let needed = Bytes(manifest.total_bytes);
        if needed <= size {
            return Ok(());
        }
        Err(Failure::new(
            Code::TargetTooSmall,
            format!("{} has {size}, backup {} needs {needed}", self.spec.target, manifest.id),
        )
        .hint("extend it, or restore to a new volume by --create POOL"))
    }

    /// Writes to something that was there before.
    fn overwrite(
        &self,
        manifest: &Manifest,
        file: &IoFile,
        mut goal: Goal,
    ) -> Result<DownloadReport> {
        if self.spec.undo && goal.volume.as_ref().is_none_or(|is| !is.volume.is_thin()) {
            return Err(no_undo(&self.spec.target));
        }
        self.context.progress.set_phase("looking at the target");
        goal.blank = !self.spec.overwrite && self.is_blank(file)?;
        if !goal.blank && !self.spec.overwrite && !self.spec.dry_run {
            let what = if goal.is_source { " and is what this backup was taken from" } else { "" };
            return Err(Failure::new(
                Code::ConfirmationNeeded,
                format!("{} holds data{what}; restoring overwrites it", self.spec.target),
            )
            .hint("add --yes to overwrite it"));
        }
        let is_compared = self.spec.mode == RestoreMode::Delta && !goal.blank;
        if self.spec.dry_run && !is_compared {
            return Ok(self.report(manifest, goal.blank, goal.warnings));
        }
        let image = self.image(manifest)?;
        if is_compared {
            goal.delta = Some(self.compare(manifest, &image, file, &mut goal)?);
        }
        self.write(manifest, &image, file, goal)
    }

    /// Writes what there is to write.
    fn write(
        &self,
        manifest: &Manifest,
        image: &Image,
        file: &IoFile,
        mut goal: Goal,
    ) -> Result<DownloadReport> {
        let mut report = self.report(manifest, goal.blank, std::mem::take(&mut goal.warnings));
        if let Some(delta) = &goal.delta {
            delta.tell(&mut report);
        }
        if !image.is_marked() {
            report.warnings.push(
                "this host may not write to the repository: should that be maintained meanwhile, the \
                 restore may fail, and has to be run again"
                    .to_owned(),
            );
        }
        if self.spec.dry_run {
            return Ok(report);
        }
        let is_there = goal.delta.as_ref().is_some_and(Delta::is_empty);
        let is_marked = goal.volume.as_ref().is_some_and(|volume| volume.target.is_marked());
        match &goal.volume {
            Some(_) if self.spec.undo && is_marked => report.warnings.push(
                "what was there is half restored already; no snapshot of that is kept".to_owned(),
            ),
            Some(ExistingVolume { volume, .. }) if self.spec.undo && !is_there => {
                report.undo_snapshot = Some(self.keep_what_is_there(volume)?);
            }
            _ => {}
        }
        let written = if !is_there {
            self.mark(&mut goal).and_then(|()| self.transfer(image, file, goal, &mut report))
        } else if is_marked {
            // What an earlier restore wrote may not be durable yet, and its mark goes in the end.
            self.mark(&mut goal).and_then(|()| Ok(stream::sync(file)?))
        } else {
            Ok(())
        };
        written.map_err(|mut failure| {
            if let Some(kept) = &report.undo_snapshot {
                failure.message =
                    format!("{}; what was there before is in {kept}", failure.message);
            }
            failure
        })?;
        report.seconds = self.started.elapsed().as_secs_f64();
        Ok(report)
    }

    /// Marks a volume that was there before as half restored.
    fn mark(&self, goal: &mut Goal) -> Result<()> {
        match &mut goal.volume {
            Some(volume) => Ok(volume.target.mark_unfinished(&self.context.id)?),
            None => Ok(()),
        }
    }

    /// Runs the data path, and reads again what was written where that is a part only.
    fn transfer(
        &self,
        image: &Image,
        file: &IoFile,
        goal: Goal,
        report: &mut DownloadReport,
    ) -> Result<()> {
        (self.context.reached)(Milestone::Prepared)?;
        let Goal { blank, unseen, unzeroed_chunk, mut delta, .. } = goal;
        self.context.progress.set_phase("restoring");
        self.context.progress.set_done_bytes(0);
        let total_bytes = report.differing_bytes.unwrap_or(file.size_bytes());
        self.context.progress.set_total_bytes(total_bytes);
        let limits = self.limits(image.root().block_bytes())?;
        let stale = unzeroed_chunk.is_some();
        let download = Download { image, target: file, blank, unseen, stale };
        (self.context.reached)(Milestone::InProgress)?;
        let (progress, cancel) = (&self.context.progress, &self.context.cancel);
        let only = delta.as_mut().map(|delta| delta as &mut dyn BlockRuns);
        let done = stream::download(&download, only, &limits, progress, cancel)?;
        report.written_bytes = done.written_bytes;
        report.discarded_bytes = done.discarded_bytes;
        report.read_bytes += done.read_bytes;
        if let Some(delta) = &mut delta {
            report.read_bytes += self.verify(image, file, delta, &limits)?;
        }
        report.page_cache = !file.direct().is_direct();
        Ok(())
    }

    /// Makes a snapshot of a volume that is about to be overwritten, which stays; returns its `VG/LV`.
    fn keep_what_is_there(&self, volume: &Volume) -> Result<String> {
        self.context.progress.set_phase("making a snapshot of the target");
        let purpose = Purpose::Operator { name: None };
        let limits = &self.engine.settings.pool_limits;
        let snapshot = self.engine.lvm.create_snapshot(volume, purpose, limits)?;
        Ok(format!("{}/{}", volume.vg, snapshot.name()))
    }

    fn image(&self, manifest: &Manifest) -> Result<Image> {
        let limits = self.limits(manifest.image_root()?.block_bytes())?;
        // A base that is open beside it has an index of its own.
        let share = if self.spec.mode == RestoreMode::Delta { 2 } else { 1 };
        let reading = ReadLimits { index_cache_bytes: limits.index_bytes / share };
        Ok(self.repository.image(manifest, reading)?)
    }

    fn open_lv(&self, target: &Target, goal: &mut Goal) -> Result<IoFile> {
        goal.unzeroed_chunk = target.unzeroed_chunk()?;
        self.open(target.file()?)
    }

    /// Takes over the target.
    fn open(&self, file: File) -> Result<IoFile> {
        DirectFile::new(file)
            .and_then(|file| self.engine.io.open(file))
            .map_err(|error| Failure::new(Code::Failed, format!("the target: {error}")))
    }

    fn limits(&self, block_bytes: u32) -> Result<Limits> {
        Ok(self.engine.settings.data_path.limits(block_bytes)?)
    }

    fn is_blank(&self, file: &IoFile) -> Result<bool> {
        let limits = self.limits(BLOCK_BYTES_DEFAULT)?;
        Ok(stream::is_blank(file, &limits, &self.context.progress, &self.context.cancel)?)
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

/// What is known of the target, and of what is to become of it.
struct Goal<'g> {
    /// Whether it reads as zeroes throughout.
    blank: bool,
    /// Whether nobody sees it before it is finished.
    unseen: bool,
    /// Whether it is what the backup was taken from.
    is_source: bool,
    /// See [`Target::unzeroed_chunk`].
    unzeroed_chunk: Option<Bytes>,
    /// `None` for a volume that was made for it, and for what is no volume.
    volume: Option<ExistingVolume<'g>>,
    /// What differs; `None` where all is written.
    delta: Option<Delta>,
    warnings: Vec<String>,
}

struct ExistingVolume<'g> {
    volume: &'g Volume,
    target: &'g mut Target,
    last: &'g Last,
}

impl Goal<'_> {
    fn new(blank: bool, warnings: Vec<String>) -> Self {
        Self {
            blank,
            unseen: false,
            is_source: false,
            unzeroed_chunk: None,
            volume: None,
            delta: None,
            warnings,
        }
    }
}

fn no_undo(target: &str) -> Failure {
    Failure::new(
        Code::Unsuitable,
        format!("{target} is no thin volume that was there before; no snapshot of it can be kept"),
    )
    .hint("leave --undo out")
}
