//! An upload: what is read, and what is kept of it in the repository.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use thinmover_io::{DirectFile, IoFile};
use thinmover_lvm::{MapUnknown, Purpose, Snapshot, ThinMap, Volume, direct};
use thinmover_repository::{
    BLOCK_BYTES_DEFAULT, Domain, ManifestDraft, Repository, Source, UploadLimits, VolumeKey,
    check_block_bytes,
};
use uuid::Uuid;

use super::context::{Context, Milestone};
use super::last_backup::LastBackup;
use super::pool_watch::PoolWatch;
use super::shared::{Engine, Found, FoundVolume, lock_file};
use super::tier::{Reason, Tier};
use crate::failure::{Code, Failure, Result, chain};
use crate::stream::{self, Input, Limits, StreamError, planned_bytes};

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

/// What is read, and what the backup says of it.
struct Opened {
    file: IoFile,
    source: Source,
    /// When its content is from.
    taken_at: Timestamp,
    /// Which of it there is; `None` where all of it must be read.
    map: Option<ThinMap>,
    reason: Reason,
    frozen: Duration,
    warnings: Vec<String>,
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
        context.progress.set_phase("preparing");
        let block_bytes = spec.block_bytes.map_or(BLOCK_BYTES_DEFAULT, |bytes| {
            // What does not fit is outside the format's bounds, which the repository names.
            u32::try_from(bytes).unwrap_or(u32::MAX)
        });
        check_block_bytes(block_bytes)?;
        let limits = self.settings.data_path.limits(block_bytes)?;
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
    /// Reads a thin volume by way of a snapshot that lives no longer than this call.
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
        let limits = self.engine.settings.pool_limits;
        self.context.progress.set_phase("making a snapshot");
        let purpose = Purpose::Job { id: self.context.id.clone() };
        let mut snapshot = lvm.create_snapshot(&volume, purpose, &limits)?;
        let taken_at = Timestamp::now();

        // Between here and `remove` nothing may return early, so that a snapshot which cannot be
        // removed is told of.
        let watch = PoolWatch::start(lvm, &pool, limits, &self.context.cancel);
        let report = self.read_snapshot(&mut snapshot, &volume, taken_at);
        drop(watch);
        self.context.progress.set_phase("removing the snapshot");
        let name = format!("{}/{}", volume.vg, snapshot.name());
        let removed = snapshot.remove().map_err(|error| {
            format!(
                "snapshot {name} could not be removed ({}); the next job tries again",
                chain(&error)
            )
        });
        let mut report = match (report, removed) {
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

    fn read_snapshot(
        &self,
        snapshot: &mut Snapshot,
        volume: &Volume,
        taken_at: Timestamp,
    ) -> Result<UploadReport> {
        let frozen = snapshot.created_in();
        (self.context.reached)(Milestone::Prepared)?;
        let mut warnings = Vec::new();
        self.context.progress.set_phase("reading the pool's metadata");
        let (map, reason) = match snapshot.map(None, &|| self.context.cancel.check().is_ok()) {
            Ok(map) => (Some(map), Reason::NoBase),
            Err(unknown) => (None, self.why_full(unknown, &mut warnings)?),
        };
        let file = snapshot.open()?;
        let file = DirectFile::new(file)
            .and_then(|file| self.engine.io.open(file))
            .map_err(|error| Failure::new(Code::Failed, format!("the snapshot: {error}")))?;
        self.store(Opened {
            file,
            source: Source {
                uuid: Some(volume.uuid.to_string()),
                vg_uuid: Some(volume.vg_uuid.to_string()),
                ..self.source(volume.alias())
            },
            taken_at,
            map,
            reason,
            frozen,
            warnings,
        })
    }

    /// Why all of the snapshot is read when it is not known which chunks it has.
    fn why_full(&self, unknown: MapUnknown, warnings: &mut Vec<String>) -> Result<Reason> {
        self.context.cancel.check()?;
        let reason = Reason::of(&unknown);
        if reason != Some(Reason::ExternalOrigin) {
            warnings.push(format!("all of the volume was read: {}", chain(&unknown)));
        }
        Ok(reason.unwrap_or(Reason::MetadataUnreadable))
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
        self.store(Opened {
            file,
            source: self.source(name),
            taken_at: Timestamp::now(),
            map: None,
            reason: Reason::CopyMethodDirect,
            frozen: Duration::ZERO,
            warnings: Vec::new(),
        })
    }

    fn source(&self, name: String) -> Source {
        let host = &self.engine.host;
        Source { host: host.id.to_string(), hostname: host.name.clone(), name, ..Source::default() }
    }

    /// Runs the data path and commits.
    fn store(&self, opened: Opened) -> Result<UploadReport> {
        let Opened { file, source, taken_at, mut map, reason, frozen, mut warnings } = opened;
        let tier = if map.is_some() { Tier::Allocated } else { Tier::Full };
        let identity = identity(&source).to_owned();
        let settings = &self.engine.settings;
        let previous = self.previous(&identity, &mut warnings)?;
        let limits =
            UploadLimits { index_memory_bytes: self.limits.index_bytes, ..UploadLimits::default() };
        let domain = Domain(source.host.clone());
        let volume = VolumeKey(format!("{}/{identity}", source.host));
        let upload = self.repository.begin_upload(&domain, &volume, limits)?;
        (self.context.reached)(Milestone::InProgress)?;
        self.context.progress.set_phase("uploading");
        let input = self.input(&file, map.as_mut())?;
        let uploaded = stream::upload(
            input,
            self.block_bytes,
            &upload,
            &self.limits,
            &self.context.progress,
            &self.context.cancel,
        )?;
        warnings.extend(upload.warnings().iter().cloned());
        if upload.is_deduplication_limited() {
            warnings.push(
                "the repository knows more blocks than data_path.memory has room for: some blocks \
                 were stored again"
                    .to_owned(),
            );
        }
        self.context.progress.set_phase("committing");
        let manifest = upload.commit(ManifestDraft {
            source,
            created_at: taken_at,
            tier: tier.as_str().to_owned(),
            reason: reason.as_str().to_owned(),
            image: uploaded.image,
            mapped: None,
            read_bytes: uploaded.read_bytes,
            labels: self.spec.labels.clone(),
            ttl: self.spec.ttl.map(|ttl| format!("{ttl:#}")),
            previous,
        })?;
        let last = LastBackup::new(self.repository_id(), manifest.id.clone());
        if let Err(error) = last.write(&settings.state_dir, &identity) {
            warnings.push(format!("the backup is made, but this host cannot note it: {error}"));
        }
        Ok(UploadReport {
            id: manifest.id,
            job: self.context.id.clone(),
            source: manifest.source.name,
            source_uuid: manifest.source.uuid,
            host: manifest.source.host,
            tier: manifest.tier,
            reason: manifest.reason,
            total_bytes: manifest.total_bytes,
            read_bytes: manifest.read_bytes,
            new_bytes: manifest.new_bytes,
            stored_bytes: manifest.stored_bytes,
            seconds: self.started.elapsed().as_secs_f64(),
            freeze_millis: u64::try_from(frozen.as_millis()).unwrap_or(u64::MAX),
            page_cache: !file.direct().is_direct(),
            warnings,
        })
    }

    /// What is read of `file`, and told as the progress' total.
    fn input<'f>(&self, file: &'f IoFile, map: Option<&'f mut ThinMap>) -> Result<Input<'f>> {
        let Some(map) = map else {
            self.context.progress.set_total_bytes(file.size_bytes());
            return Ok(Input::whole(file));
        };
        let planned = map
            .extents()
            .and_then(|extents| planned_bytes(extents, file.size_bytes(), self.block_bytes))
            .map_err(StreamError::Extents)?;
        self.context.progress.set_total_bytes(planned);
        let extents = Box::new(map.extents().map_err(StreamError::Extents)?);
        Ok(Input { file, extents })
    }

    /// The volume's last backup in this repository, and a warning if the repository lost it.
    fn previous(&self, identity: &str, warnings: &mut Vec<String>) -> Result<Option<String>> {
        let last = LastBackup::read(&self.engine.settings.state_dir, identity)
            .filter(|last| last.repository == self.repository_id());
        let Some(last) = last else { return Ok(None) };
        match self.repository.backup(&last.backup) {
            Ok(manifest) => Ok(Some(manifest.id)),
            Err(thinmover_repository::Error::BackupNotFound { .. }) => {
                warnings.push(format!(
                    "the repository no longer has backup {}, this host's last one of {identity}: \
                     it was deleted, or the repository was rolled back",
                    last.backup
                ));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn repository_id(&self) -> String {
        Uuid::from_bytes(self.repository.descriptor().id).simple().to_string()
    }
}
