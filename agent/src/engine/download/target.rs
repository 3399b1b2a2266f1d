//! Opening the target, a new volume, one that is there, a file or a device, and closing it again.

use std::fs::File;
use std::path::Path;

use thinmover_io::{DirectFile, IoFile};
use thinmover_lvm::{Bytes, LvName, Target, direct};
use thinmover_repository::Manifest;

use super::write::{ExistingVolume, Goal, no_undo};
use super::{DownloadReport, Job, RestoreMode};
use crate::engine::pool_watch::PoolWatch;
use crate::engine::shared::{FoundVolume, lock_file};
use crate::engine::upload::base::{Last, last, place};
use crate::failure::{Code, Failure, Result, chain};

impl Job<'_> {
    pub(super) fn to_new_volume(&self, pool: &str) -> Result<DownloadReport> {
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

    pub(super) fn to_volume(&self, found: FoundVolume) -> Result<DownloadReport> {
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

    pub(super) fn to_path(&self, path: &Path) -> Result<DownloadReport> {
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
}
