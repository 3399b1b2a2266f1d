//! Running the data path and committing: by the base while it can be used, else without.

use thinmover_io::IoFile;
use thinmover_lvm::Lineage;
use thinmover_repository::{
    Error as RepositoryError, Image, ManifestDraft, MappedRoot, Upload as Session, UploadLimits,
};

use super::base::{is_of_the_base, place};
use super::plan::ReadPlan;
use super::spot_check::{Difference, SpotCheckError, spot_check};
use super::tier::{Reason, Tier};
use super::{Opened, Upload, UploadReport, identity};
use crate::engine::context::Milestone;
use crate::failure::{Code, Failure, Result};
use crate::stream::{self, Input, StreamError, planned_bytes};

/// A backup that is committed, and not noted yet.
pub(super) struct Stored {
    pub(super) report: UploadReport,
    /// Of the snapshot that it was made of.
    pub(super) lineage: Option<Lineage>,
}

impl Upload<'_> {
    /// Runs the data path and commits. A base that turns out to be unusable costs the tier, and a
    /// second attempt.
    pub(super) fn store(&self, mut opened: Opened) -> Result<Stored> {
        self.compare_with_base(&mut opened)?;
        let report = match self.attempt(&mut opened) {
            Err(Attempt::Base(error)) => {
                self.fall_back(&mut opened, Reason::BaseDamaged)?;
                opened.warnings.push(format!("the last backup is no base: {error}"));
                self.attempt(&mut opened)
            }
            report => report,
        };
        let report = report.map_err(Failure::from)?;
        Ok(Stored { report, lineage: opened.lineage })
    }

    /// Reads a few blocks that would be taken from the base, and drops that where they differ.
    fn compare_with_base(&self, opened: &mut Opened) -> Result<()> {
        let (Some(base), Some(plan)) = (&opened.base, &mut opened.plan) else { return Ok(()) };
        self.context.progress.set_phase("comparing with the base");
        let (reason, warning) = match spot_check(&opened.file, plan, base) {
            Ok((read_bytes, difference)) => {
                opened.compared_bytes = read_bytes;
                let Some(Difference { offset }) = difference else { return Ok(()) };
                let warning = format!(
                    "the image block at byte {offset} changed since the last backup although the \
                     pool's metadata says that it did not; all that is allocated was read"
                );
                (Reason::SpotCheckFailed, warning)
            }
            Err(SpotCheckError::Base(error)) => {
                (Reason::BaseDamaged, format!("the last backup is no base: {error}"))
            }
            Err(SpotCheckError::Read(error)) => return Err(error.into()),
        };
        opened.warnings.push(warning);
        self.fall_back(opened, reason)
    }

    fn attempt(&self, opened: &mut Opened) -> std::result::Result<UploadReport, Attempt> {
        let identity = identity(&opened.source).to_owned();
        let tier = match (&opened.plan, &opened.base) {
            (None, _) => Tier::Full,
            (Some(_), None) => Tier::Allocated,
            (Some(_), Some(_)) => Tier::Changed,
        };
        let mut upload = match opened.session.take() {
            Some(session) => session,
            None => self.begin(&identity)?,
        };
        // An open base has an index of its own.
        let share = if opened.base.is_some() { 2 } else { 1 };
        upload.set_index_memory(self.limits.index_bytes / share);
        (self.context.reached)(Milestone::InProgress)?;
        self.context.progress.set_phase("uploading");
        let input = self.input(&opened.file, opened.plan.as_mut(), opened.base.as_ref())?;
        let uploaded = stream::upload(
            input,
            self.block_bytes,
            &upload,
            &self.limits,
            &self.context.progress,
            &self.context.cancel,
        )?;
        let mapped = opened.plan.as_mut().map(|plan| store_list(&upload, plan)).transpose()?;
        let mut warnings = opened.warnings.clone();
        warnings.extend(upload.warnings());
        if upload.is_deduplication_limited() {
            warnings.push(
                "the repository knows more blocks than data_path.memory has room for: some blocks \
                 were stored again"
                    .to_owned(),
            );
        }
        let lineage =
            opened.lineage.as_ref().map(serde_json::to_value).transpose().map_err(|error| {
                Failure::new(Code::Failed, format!("the volume's lineage: {error}"))
            })?;
        self.context.progress.set_phase("committing");
        let manifest = upload.commit(ManifestDraft {
            source: opened.source.clone(),
            created_at: opened.taken_at,
            tier: tier.as_str().to_owned(),
            reason: opened.reason.as_str().to_owned(),
            image: uploaded.image,
            mapped,
            lineage,
            read_bytes: opened.compared_bytes + uploaded.read_bytes,
            labels: self.spec.labels.clone(),
            ttl: self.spec.ttl.map(|ttl| format!("{ttl:#}")),
            previous: opened.previous.as_ref().map(|manifest| manifest.id.clone()),
        })?;
        Ok(UploadReport {
            id: manifest.id,
            job: self.context.id.clone(),
            source: manifest.source.name,
            source_uuid: manifest.source.uuid,
            host: manifest.source.host,
            repository_id: self.repository.descriptor().id_text(),
            tier: manifest.tier,
            reason: manifest.reason,
            total_bytes: manifest.total_bytes,
            read_bytes: manifest.read_bytes,
            new_bytes: manifest.new_bytes,
            stored_bytes: manifest.stored_bytes,
            seconds: self.started.elapsed().as_secs_f64(),
            freeze_millis: u64::try_from(opened.frozen.as_millis()).unwrap_or(u64::MAX),
            page_cache: !opened.file.direct().is_direct(),
            warnings,
        })
    }

    /// Begins a session of the volume with this identity.
    pub(super) fn begin(&self, identity: &str) -> Result<Session> {
        let (domain, volume) = place(self.engine, identity);
        Ok(self.repository.begin_upload(&domain, &volume, UploadLimits::default())?)
    }

    /// What is read of `file`, and told as the progress' total.
    fn input<'f>(
        &self,
        file: &'f IoFile,
        plan: Option<&'f mut ReadPlan>,
        base: Option<&'f Image>,
    ) -> std::result::Result<Input<'f>, StreamError> {
        let Some(plan) = plan else {
            self.context.progress.set_total_bytes(file.size_bytes());
            return Ok(Input::whole(file));
        };
        let planned = plan.ranges().and_then(planned_bytes).map_err(StreamError::Plan)?;
        self.context.progress.set_total_bytes(planned);
        Ok(Input { file, plan: plan.ranges().map_err(StreamError::Plan)?, base })
    }
}

/// Stores which chunks are mapped.
fn store_list(
    upload: &Session,
    plan: &mut ReadPlan,
) -> std::result::Result<MappedRoot, StreamError> {
    let (chunk_bytes, volume_bytes) = plan.sizes();
    let mut list = upload.mapped_list_builder(chunk_bytes, volume_bytes)?;
    for run in plan.mapped().map_err(StreamError::Plan)? {
        list.push(run.map_err(StreamError::Plan)?)?;
    }
    Ok(list.finish()?)
}

/// Why an attempt to store an upload ended.
enum Attempt {
    /// The base cannot be used.
    Base(RepositoryError),
    Other(Failure),
}

impl From<Failure> for Attempt {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

impl From<RepositoryError> for Attempt {
    fn from(error: RepositoryError) -> Self {
        match error {
            RepositoryError::BaseUnusable { .. } if is_of_the_base(&error) => Self::Base(error),
            error => Self::Other(error.into()),
        }
    }
}

impl From<StreamError> for Attempt {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Repository(error) => error.into(),
            error => Self::Other(error.into()),
        }
    }
}

impl From<Attempt> for Failure {
    fn from(attempt: Attempt) -> Self {
        match attempt {
            Attempt::Base(error) => error.into(),
            Attempt::Other(failure) => failure,
        }
    }
}
