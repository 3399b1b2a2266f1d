//! A download: a backup written to a volume, a block device or a file.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use thinmover_io::{DirectFile, IoFile};
use thinmover_lvm::{Bytes, LvName, Target, direct};
use thinmover_repository::{BLOCK_BYTES_DEFAULT, Manifest, ReadLimits, Repository};

use super::choose::{self, Latest};
use super::context::{Context, Milestone};
use super::pool_watch::PoolWatch;
use super::shared::{Engine, Found, FoundVolume, lock_file};
use crate::failure::{Code, Failure, Result, chain};
use crate::stream::{self, Download, Limits};

/// What is asked of a download.
#[derive(Clone, Debug)]
pub(crate) struct DownloadSpec {
    pub(crate) backup: Which,
    /// `VG/LV`, an LV name or UUID, or a path.
    pub(crate) target: String,
    /// The pool in which `target` (`VG/LV`) is made first.
    pub(crate) create_in_pool: Option<String>,
    /// Whether what the target holds may be lost.
    pub(crate) overwrite: bool,
    /// Whether to stop before anything is written.
    pub(crate) dry_run: bool,
}

/// Which backup.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    /// The one whose id is, or begins with, this.
    Id(String),
    Latest(Latest),
}

/// What a download did.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DownloadReport {
    /// The backup's id.
    pub(crate) id: String,
    pub(crate) job: String,
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) total_bytes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) discarded_bytes: u64,
    pub(crate) read_bytes: u64,
    pub(crate) seconds: f64,
    /// Whether the target held only zeroes before.
    pub(crate) blank: bool,
    pub(crate) dry_run: bool,
    /// Whether the target was written through the page cache, since its filesystem refuses O_DIRECT or
    /// its size is no multiple of a sector.
    #[serde(default)]
    pub(crate) page_cache: bool,
    pub(crate) warnings: Vec<String>,
}

impl Engine {
    /// Writes a backup to a target. A target that was made for it is removed again when that
    /// fails; one that was there keeps what was written, without its first image block.
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
        let job = Job { engine: self, repository, spec, context, started: Instant::now() };
        context.progress.set_phase("preparing");
        if let Some(pool) = &spec.create_in_pool {
            return job.to_new_volume(pool);
        }
        match self.find(&spec.target, &context.scope)? {
            Found::Volume(found) => job.to_volume(*found),
            Found::Path(path) => job.to_path(&path),
        }
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
        let report =
            self.open_lv(&target).and_then(|file| self.write(&manifest, file, true, warnings));
        drop(watch);
        self.end(target, report)
    }

    fn to_volume(&self, found: FoundVolume) -> Result<DownloadReport> {
        let FoundVolume { volume, pool, warnings } = found;
        let lvm = &self.engine.lvm;
        let _lock = lvm.lock_volume(&volume.uuid)?;
        let manifest = self.backup(volume.uuid.as_str())?;
        self.check_size(&manifest, volume.size)?;
        let target = lvm.open_target(&volume)?;
        let watch = pool.map(|pool| {
            PoolWatch::start(lvm, &pool, self.engine.settings.pool_limits, &self.context.cancel)
        });
        let is_source = manifest.source.uuid.as_deref() == Some(volume.uuid.as_str());
        let report = self
            .open_lv(&target)
            .and_then(|file| self.overwrite(&manifest, file, is_source, warnings));
        drop(watch);
        self.end(target, report)
    }

    fn end(&self, target: Target, report: Result<DownloadReport>) -> Result<DownloadReport> {
        match report {
            Ok(report) => {
                target.finish()?;
                Ok(report)
            }
            Err(mut failure) => {
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
        let target = direct::open_target(&path, Bytes(manifest.total_bytes))?;
        self.check_size(&manifest, target.size())?;
        let _lock = lock_file(target.file()?, &path)?;
        let file = self.open(target.file()?)?;
        let is_source = manifest.source.uuid.is_none()
            && manifest.source.name == identity
            && manifest.source.host == self.engine.host.id.to_string();
        let report = if target.is_new() {
            self.write(&manifest, file, true, Vec::new())?
        } else {
            self.overwrite(&manifest, file, is_source, Vec::new())?
        };
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
        file: IoFile,
        is_source: bool,
        warnings: Vec<String>,
    ) -> Result<DownloadReport> {
        self.context.progress.set_phase("looking at the target");
        let blank = !self.spec.overwrite && self.is_blank(&file)?;
        if self.spec.dry_run {
            return Ok(self.report(manifest, blank, warnings));
        }
        if !blank && !self.spec.overwrite {
            let what = if is_source { " and is what this backup was taken from" } else { "" };
            return Err(Failure::new(
                Code::ConfirmationNeeded,
                format!("{} holds data{what}; restoring overwrites it", self.spec.target),
            )
            .hint("add --yes to overwrite it"));
        }
        self.write(manifest, file, blank, warnings)
    }

    fn write(
        &self,
        manifest: &Manifest,
        file: IoFile,
        blank: bool,
        warnings: Vec<String>,
    ) -> Result<DownloadReport> {
        (self.context.reached)(Milestone::Prepared)?;
        self.context.progress.set_phase("restoring");
        self.context.progress.set_done_bytes(0);
        self.context.progress.set_total_bytes(file.size_bytes());
        let limits = self.limits(manifest.image_root()?.block_bytes())?;
        let reading = ReadLimits { index_cache_bytes: limits.index_bytes };
        let image = self.repository.image(manifest, reading)?;
        let download = Download { image: &image, target: &file, blank };
        (self.context.reached)(Milestone::InProgress)?;
        let done =
            stream::download(&download, &limits, &self.context.progress, &self.context.cancel)?;
        Ok(DownloadReport {
            written_bytes: done.written_bytes,
            discarded_bytes: done.discarded_bytes,
            read_bytes: done.read_bytes,
            page_cache: !file.direct().is_direct(),
            ..self.report(manifest, blank, warnings)
        })
    }

    fn open_lv(&self, target: &Target) -> Result<IoFile> {
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
            seconds: self.started.elapsed().as_secs_f64(),
            blank,
            dry_run: self.spec.dry_run,
            page_cache: false,
            warnings,
        }
    }
}
