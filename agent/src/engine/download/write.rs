//! Writing to the target, once it is open: what is asked first, and what is written of the backup.

use thinmover_io::IoFile;
use thinmover_lvm::{Bytes, Purpose, Target, Volume};
use thinmover_repository::{BLOCK_BYTES_DEFAULT, Image, Manifest};

use super::delta::Delta;
use super::{DownloadReport, Job, RestoreMode};
use crate::engine::context::Milestone;
use crate::engine::upload::base::Last;
use crate::failure::{Code, Failure, Result};
use crate::stream::{self, BlockRuns, Download};

/// What is known of the target, and of what is to become of it.
pub(super) struct Goal<'g> {
    /// Whether it reads as zeroes throughout.
    pub(super) blank: bool,
    /// Whether nobody sees it before it is finished.
    pub(super) unseen: bool,
    /// Whether it is what the backup was taken from.
    pub(super) is_source: bool,
    /// See [`Target::unzeroed_chunk`].
    pub(super) unzeroed_chunk: Option<Bytes>,
    /// `None` for a volume that was made for it, and for what is no volume.
    pub(super) volume: Option<ExistingVolume<'g>>,
    /// What differs; `None` where all is written.
    pub(super) delta: Option<Delta>,
    pub(super) warnings: Vec<String>,
}

pub(super) struct ExistingVolume<'g> {
    pub(super) volume: &'g Volume,
    pub(super) target: &'g mut Target,
    pub(super) last: &'g Last,
}

impl Goal<'_> {
    pub(super) fn new(blank: bool, warnings: Vec<String>) -> Self {
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

impl Job<'_> {
    /// Writes to something that was there before.
    pub(super) fn overwrite(
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
    pub(super) fn write(
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
                "this host may not write to the repository: should the backup be deleted meanwhile, the \
                 restore may fail"
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

    fn is_blank(&self, file: &IoFile) -> Result<bool> {
        let limits = self.limits(BLOCK_BYTES_DEFAULT)?;
        Ok(stream::is_blank(file, &limits, &self.context.progress, &self.context.cancel)?)
    }
}

pub(super) fn no_undo(target: &str) -> Failure {
    Failure::new(
        Code::Unsuitable,
        format!("{target} is no thin volume that was there before; no snapshot of it can be kept"),
    )
    .hint("leave --undo out")
}
