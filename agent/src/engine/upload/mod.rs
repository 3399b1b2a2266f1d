//! An upload: what is read, and what is kept of it in the repository.
//!
//! [`base`] says what it may build on, [`plan`] what is read of a snapshot and [`decide`] by which of
//! the two, [`spot_check`] is a net under both, [`store`] runs the data path and commits, [`keep`]
//! hands the snapshot over to the next upload, and [`tier`] has the words for what came of it.

pub(super) mod base;
mod decide;
mod keep;
pub(super) mod plan;
pub(super) mod spot_check;
mod store;
pub(super) mod tier;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use thinmover_io::{DirectFile, IoFile};
use thinmover_lvm::{KeptBase, Lineage, Purpose, Snapshot, Volume, direct};
use thinmover_repository::{
    BLOCK_BYTES_DEFAULT, Image, LiveBackup, Manifest, Repository, Source, Upload as Session,
    check_block_bytes,
};

use super::context::{Context, Milestone};
use super::pool_watch::PoolWatch;
use super::shared::{Engine, Found, FoundVolume, lock_file};
use crate::failure::{Code, Failure, Result, chain};
use crate::stream::Limits;
use base::{Base, Last, last};
use plan::ReadPlan;
use store::Stored;
pub(crate) use tier::Parent;
use tier::Reason;

/// What is asked of an upload.
#[derive(Clone, Debug)]
pub(crate) struct UploadSpec {
    /// `VG/LV`, an LV name or UUID, or a path.
    pub(crate) source: String,
    /// A snapshot for an LV and the thing itself for any other path, when not given.
    pub(crate) copy_method: Option<CopyMethod>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) ttl: Option<SignedDuration>,
    /// Size of an image block in bytes.
    pub(crate) block_bytes: Option<u64>,
    pub(crate) parent: Parent,
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CopyMethod {
    /// A thin snapshot, made for the job and removed with it.
    Snapshot,
    /// The source itself; whoever asks for it keeps it from changing meanwhile.
    Direct,
}

/// What an upload did.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UploadReport {
    /// The backup's id.
    pub(crate) id: String,
    pub(crate) job: String,
    pub(crate) source: String,
    pub(crate) source_uuid: Option<String>,
    /// The host's id.
    pub(crate) host: String,
    /// The repository's id; empty in what an older version reported.
    #[serde(default)]
    pub(crate) repository_id: String,
    pub(crate) tier: String,
    pub(crate) reason: String,
    pub(crate) total_bytes: u64,
    pub(crate) read_bytes: u64,
    pub(crate) new_bytes: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) seconds: f64,
    /// How long making the snapshot took: the origin's filesystem was frozen for a part of this.
    pub(crate) freeze_millis: u64,
    /// Whether the source was read through the page cache, since its filesystem refuses O_DIRECT or
    /// its size is no multiple of a sector.
    #[serde(default)]
    pub(crate) page_cache: bool,
    pub(crate) warnings: Vec<String>,
}

impl UploadReport {
    /// Whether the volume or its pool is not what the last backup says it should be.
    pub(crate) fn is_alarming(&self) -> bool {
        Reason::is_alarming(&self.reason)
    }
}

/// What is read, and what the backup says of it.
struct Opened<'a> {
    file: IoFile,
    source: Source,
    /// When its content is from.
    taken_at: Timestamp,
    /// Which of it is read; `None` where it is all.
    plan: Option<ReadPlan>,
    /// The image that has what the plan leaves out, if the plan says so.
    base: Option<Image>,
    /// The one that found the base; another attempt has one of its own.
    session: Option<Session>,
    /// The snapshot that is read, to be asked once more what is mapped.
    snapshot: Option<&'a mut Snapshot>,
    /// Its own, for the next upload.
    lineage: Option<Lineage>,
    /// What this host remembers of the last backup, as far as the repository still has that.
    previous: Option<Manifest>,
    reason: Reason,
    /// Read already, to compare with the base.
    compared_bytes: u64,
    frozen: Duration,
    warnings: Vec<String>,
}

/// What was begun before the snapshot was read.
struct Begun {
    session: Session,
    taken_at: Timestamp,
    previous: Option<Manifest>,
}

impl Engine {
    /// Makes one backup. Whatever happens, nothing of the job is left on the host.
    ///
    /// # Errors
    /// What happened, to what, and what to do next; no backup is listed then.
    pub(crate) fn upload(
        &self,
        repository: &Repository,
        spec: &UploadSpec,
        context: &Context<'_>,
    ) -> Result<UploadReport> {
        let repository = &repository.until(context.cancel.give_up());
        self.make_backup(repository, spec, context).map_err(|failure| context.cause(failure))
    }

    fn make_backup(
        &self,
        repository: &Repository,
        spec: &UploadSpec,
        context: &Context<'_>,
    ) -> Result<UploadReport> {
        context.progress.set_phase("preparing");
        let block_bytes = spec.block_bytes.map_or(BLOCK_BYTES_DEFAULT, |bytes| {
            // What does not fit is outside the format's bounds, which the repository names.
            u32::try_from(bytes).unwrap_or(u32::MAX)
        });
        check_block_bytes(block_bytes)?;
        let limits = self
            .settings
            .data_path
            .limits_writing(block_bytes, repository.writer_memory_bytes())?;
        let started = Instant::now();
        let job = Upload { engine: self, repository, spec, context, block_bytes, limits, started };
        let method = spec.copy_method;
        match self.find(&spec.source, &context.scope)? {
            Found::Volume(found) if method != Some(CopyMethod::Direct) => job.snapshot(*found),
            Found::Volume(found) => Err(Failure::new(
                Code::Unsuitable,
                format!(
                    "{} is a logical volume and is read by a snapshot only",
                    found.volume.alias()
                ),
            )
            .hint("leave --copy-method out")),
            Found::Path(path) if method == Some(CopyMethod::Snapshot) => Err(Failure::new(
                Code::Unsuitable,
                format!(
                    "{} is not a logical volume, no snapshot of it can be made",
                    path.display()
                ),
            )
            .hint("use --copy-method direct, and keep it from changing meanwhile")),
            Found::Path(path) => job.direct(&path),
        }
    }
}

/// What a source is known by on its host: a volume by its UUID, anything else by its path.
pub(super) fn identity(source: &Source) -> &str {
    source.uuid.as_deref().unwrap_or(&source.name)
}

struct Upload<'a> {
    engine: &'a Engine,
    repository: &'a Repository,
    spec: &'a UploadSpec,
    context: &'a Context<'a>,
    block_bytes: u32,
    limits: Limits,
    started: Instant,
}

impl Upload<'_> {
    /// Reads a thin volume by way of a snapshot that lives no longer than this call, unless it is to
    /// stay as the next one's base.
    fn snapshot(&self, found: FoundVolume) -> Result<UploadReport> {
        let FoundVolume { volume, pool, mut warnings } = found;
        let lvm = &self.engine.lvm;
        let _lock = lvm.lock_volume(&volume.uuid)?;
        self.context.cancel.check()?;
        let pool = pool.ok_or_else(|| {
            let volume = volume.alias();
            let message = format!("{volume} is no thin volume; no thin snapshot of it can be made");
            Failure::new(Code::Unsuitable, message)
        })?;
        let identity = volume.uuid.as_str();
        let session = self.begin(identity)?;
        let (last, live) = self.last(&session, identity, &mut warnings)?;
        self.engine.give_way(&volume, &pool, &mut warnings)?;
        let kept = self.kept(&volume, &last, &mut warnings)?;
        let base = self.base(&volume, &last, &session, live.as_ref(), &mut warnings)?;
        let limits = self.engine.settings.pool_limits;
        self.context.progress.set_phase("making a snapshot");
        let purpose = Purpose::Job { id: self.context.id.clone() };
        let mut snapshot = lvm.create_snapshot(&volume, purpose, &limits)?;
        let taken_at = Timestamp::now();

        // Between here and `remove` nothing may return early, so that a snapshot which cannot be
        // removed is told of.
        let watch = PoolWatch::start(lvm, &pool, limits, &self.context.cancel);
        let kept = kept.as_ref();
        let begun = Begun { session, taken_at, previous: last.manifest };
        let stored = self.read_snapshot(&mut snapshot, &volume, begun, base, kept);
        drop(watch);
        let stored = stored.map_err(|failure| self.context.cause(failure));
        let handed = stored.map(|stored| self.hand_over(&mut snapshot, &volume, kept, stored));
        let stays = matches!(handed, Ok((_, true)));
        let removed = if stays { Ok(()) } else { self.remove_snapshot(snapshot) };
        let mut report = match (handed.map(|(report, _)| report), removed) {
            (Ok(report), removed) => {
                warnings.extend(removed.err());
                report
            }
            (Err(failure), Ok(())) => return Err(failure),
            (Err(mut failure), Err(left)) => {
                failure.message = format!("{}; also, {left}", failure.message);
                return Err(failure);
            }
        };
        report.warnings.append(&mut warnings);
        report.seconds = self.started.elapsed().as_secs_f64();
        Ok(report)
    }

    /// What this host remembers of the volume's last backup, and that, if it is live.
    fn last(
        &self,
        session: &Session,
        identity: &str,
        warnings: &mut Vec<String>,
    ) -> Result<(Last, Option<LiveBackup>)> {
        let mut live = None;
        let find = |id: &str| {
            live = session.live_backup(id)?;
            Ok(live.as_deref().cloned())
        };
        let last = last(self.engine, self.repository, identity, find, warnings)?;
        Ok((last, live))
    }

    /// Removes the job's snapshot, or says that it is left.
    fn remove_snapshot(&self, snapshot: Snapshot) -> std::result::Result<(), String> {
        self.context.progress.set_phase("removing the snapshot");
        let name = snapshot.alias();
        snapshot.remove().map_err(|error| {
            format!(
                "snapshot {name} could not be removed ({}); the next job tries again",
                chain(&error)
            )
        })
    }

    fn read_snapshot(
        &self,
        snapshot: &mut Snapshot,
        volume: &Volume,
        begun: Begun,
        base: std::result::Result<Base, Reason>,
        kept: Option<&KeptBase>,
    ) -> Result<Stored> {
        let frozen = snapshot.created_in();
        (self.context.reached)(Milestone::Prepared)?;
        self.context.progress.set_phase("reading the pool's metadata");
        let go_on = || self.context.cancel.check().is_ok();
        let map = snapshot.map(base.as_ref().ok().map(|base| &base.lineage), kept, &go_on);
        let file = snapshot.open()?;
        let file = DirectFile::new(file)
            .and_then(|file| self.engine.io.open(file))
            .map_err(|error| Failure::new(Code::Failed, format!("the snapshot: {error}")))?;
        let mut opened = Opened {
            file,
            source: Source {
                uuid: Some(volume.uuid.to_string()),
                vg_uuid: Some(volume.vg_uuid.to_string()),
                ..self.source(volume.alias())
            },
            taken_at: begun.taken_at,
            plan: None,
            base: None,
            session: Some(begun.session),
            snapshot: Some(snapshot),
            lineage: None,
            previous: begun.previous,
            reason: Reason::NoBase,
            compared_bytes: 0,
            frozen,
            warnings: Vec::new(),
        };
        match map {
            Ok(mut map) => {
                opened.lineage = map.lineage.take();
                self.tell_of_not_compared(&base, kept, &map, &mut opened.warnings);
                self.plan(&mut opened, map, base)?;
            }
            Err(unknown) => {
                opened.reason = Reason::of_unknown(&unknown, self.context, &mut opened.warnings)?;
            }
        }
        self.store(opened)
    }

    /// Reads a block device or an image file itself.
    fn direct(&self, path: &Path) -> Result<UploadReport> {
        let failed = |error| Failure::new(Code::Failed, format!("{}: {error}", path.display()));
        let path = std::path::absolute(path).map_err(failed)?;
        let name = path.to_str().map(str::to_owned).ok_or_else(|| {
            Failure::new(Code::Unsuitable, format!("{} is not UTF-8", path.display()))
        })?;
        let opened = direct::open_source(&path)?;
        let _lock = lock_file(opened.file.try_clone().map_err(failed)?, &path)?;
        let file = DirectFile::new(opened.file)
            .and_then(|file| self.engine.io.open(file))
            .map_err(failed)?;
        (self.context.reached)(Milestone::Prepared)?;
        let mut warnings = Vec::new();
        let session = self.begin(&name)?;
        let previous = self.last(&session, &name, &mut warnings)?.0.manifest;
        let Stored { mut report, .. } = self.store(Opened {
            file,
            source: self.source(name.clone()),
            taken_at: Timestamp::now(),
            plan: None,
            base: None,
            session: Some(session),
            snapshot: None,
            lineage: None,
            previous,
            reason: Reason::CopyMethodDirect,
            compared_bytes: 0,
            frozen: Duration::ZERO,
            warnings,
        })?;
        self.note(&name, &report.id, None, None, &mut report.warnings);
        Ok(report)
    }

    fn source(&self, name: String) -> Source {
        let host = &self.engine.host;
        Source { host: host.id.to_string(), hostname: host.name.clone(), name, ..Source::default() }
    }
}
