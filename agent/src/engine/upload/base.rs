//! The base of an upload: the volume's last backup, from which it takes what did not change. It is
//! the backup that this host's own note names, never the newest in the repository, and the volume
//! must carry the note's number as a tag: so a copy of the host or of the disk, and either of the
//! two set back, do not pass for each other.

use thinmover_lvm::{Lineage, LvmUuid, Volume};
use thinmover_repository::{
    Domain, Error as RepositoryError, Image, LiveBackup, Manifest, ReadLimits, Repository,
    Upload as Session, VolumeKey,
};

use super::Upload;
use super::tier::{Parent, Reason};
use crate::engine::last_backup::{LastBackup, Note};
use crate::engine::shared::Engine;
use crate::failure::{Failure, Result};

/// The volume's last backup.
#[derive(Default)]
pub(in crate::engine) struct Last {
    /// What this host remembers of it.
    pub(super) remembered: Option<LastBackup>,
    /// What the repository has of it.
    pub(super) manifest: Option<Manifest>,
    /// Whether the repository has it and cannot read it.
    pub(super) is_damaged: bool,
}

/// What an upload may build on.
pub(super) struct Base {
    pub(super) image: Image,
    pub(super) lineage: Lineage,
    /// The snapshot it was made of, if that stayed in the pool.
    pub(super) kept: Option<LvmUuid>,
}

/// What `engine`'s host remembers of the last backup in `repository` of the volume with this identity,
/// and a warning if the repository lost it. `find` looks for a live one by its id.
pub(in crate::engine) fn last(
    engine: &Engine,
    repository: &Repository,
    identity: &str,
    find: impl FnOnce(&str) -> std::result::Result<Option<Manifest>, RepositoryError>,
    warnings: &mut Vec<String>,
) -> Result<Last> {
    let note = LastBackup::read(&engine.settings.state_dir, identity)
        .filter(|last| last.repository == repository.descriptor().id_text());
    let Some(last) = note else { return Ok(Last::default()) };
    match find(&last.backup) {
        Ok(manifest @ Some(_)) => Ok(Last { remembered: Some(last), manifest, is_damaged: false }),
        Ok(None) => {
            warnings.push(format!(
                "the repository no longer has backup {}, this host's last one of {identity}: \
                 it was deleted, or the repository was rolled back",
                last.backup
            ));
            Ok(Last { remembered: Some(last), manifest: None, is_damaged: false })
        }
        Err(error) if error.is_of_one_backup() => {
            warnings.push(format!("backup {} is no base: {error}", last.backup));
            Ok(Last { remembered: Some(last), manifest: None, is_damaged: true })
        }
        Err(error) => Err(error.into()),
    }
}

/// What deduplicates with this host's volumes, and which of them has this identity.
pub(in crate::engine) fn place(engine: &Engine, identity: &str) -> (Domain, VolumeKey) {
    let host = engine.host.id.to_string();
    (Domain(host.clone()), VolumeKey(format!("{host}/{identity}")))
}

impl Last {
    /// What this host noted of it, to build on.
    pub(super) fn note(&self) -> Option<&Note> {
        self.remembered.as_ref().and_then(|last| last.note.as_ref())
    }

    /// The backup and the note of it, if that, the repository and the tag on `volume` agree.
    pub(in crate::engine) fn agreed(
        &self,
        volume: &Volume,
    ) -> std::result::Result<(&Manifest, Note), Reason> {
        if self.is_damaged {
            return Err(Reason::BaseDamaged);
        }
        let Some(note) = self.note() else { return Err(Reason::NoBase) };
        let Some(manifest) = &self.manifest else { return Err(Reason::BaseGone) };
        // Both were written at one time.
        let noted = serde_json::to_value(&note.lineage).ok();
        if manifest.lineage.is_none() || manifest.lineage != noted {
            return Err(Reason::NoBase);
        }
        if volume.base().as_ref() != Some(&note.nonce) {
            return Err(Reason::BaseTag);
        }
        Ok((manifest, note.clone()))
    }
}

impl Upload<'_> {
    /// The base, if there is one and it holds as far as can be told before the snapshot is made;
    /// else why not.
    pub(super) fn base(
        &self,
        volume: &Volume,
        last: &Last,
        session: &Session,
        live: Option<&LiveBackup>,
        warnings: &mut Vec<String>,
    ) -> Result<std::result::Result<Base, Reason>> {
        let remembered = last.remembered.as_ref();
        match &self.spec.parent {
            Parent::None => return Ok(Err(Reason::ParentNone)),
            Parent::Id(id) if remembered.is_none_or(|last| last.backup != *id) => {
                return Ok(Err(Reason::ParentNotLast));
            }
            Parent::Auto | Parent::Id(_) => {}
        }
        let (manifest, note) = match last.agreed(volume) {
            Ok(agreed) => agreed,
            Err(reason) => return Ok(Err(reason)),
        };
        let Note { lineage, kept, .. } = note;
        if manifest.block_bytes != self.block_bytes {
            return Ok(Err(Reason::BlockSize));
        }
        let go_on = || self.context.cancel.check().is_ok();
        match self.engine.lvm.check_base(volume, &lineage, &go_on) {
            Ok(Ok(())) => {}
            Ok(Err(broken)) => return Ok(Err(Reason::of_broken(&broken, warnings))),
            Err(unknown) => return Ok(Err(Reason::of_unknown(&unknown, self.context, warnings)?)),
        }
        let limits = ReadLimits { index_cache_bytes: self.limits.index_bytes / 2 };
        let Some(live) = live else { return Ok(Err(Reason::BaseGone)) };
        match session.base_image(live, limits) {
            Ok(image) if image.mapped().is_some() => Ok(Ok(Base { image, lineage, kept })),
            Ok(_) => Ok(Err(Reason::NoBase)),
            Err(error) if is_of_the_base(&error) => {
                warnings.push(format!("backup {} is no base: {error}", manifest.id));
                Ok(Err(Reason::BaseDamaged))
            }
            Err(error) => Err(Failure::from(error)),
        }
    }

    /// Notes the backup as the volume's last one: here and, by the tag of the note, on the volume
    /// itself. Returns whether all of that was done; what fails costs the next upload its base and is
    /// a warning.
    pub(super) fn note(
        &self,
        identity: &str,
        backup: &str,
        volume: Option<&Volume>,
        note: Option<Note>,
        warnings: &mut Vec<String>,
    ) -> bool {
        let nonce = note.as_ref().map(|note| note.nonce.clone());
        let last = LastBackup::new(self.repository.descriptor().id_text(), backup.to_owned(), note);
        if let Err(error) = last.write(&self.engine.settings.state_dir, identity) {
            warnings.push(format!("the backup is made, but this host cannot note it: {error}"));
            return false;
        }
        if let (Some(volume), Some(nonce)) = (volume, nonce)
            && let Err(error) = self.engine.lvm.set_base(volume, &nonce)
        {
            warnings.push(format!(
                "the backup is made, but the next one has no base: {}",
                crate::failure::chain(&error)
            ));
            return false;
        }
        true
    }
}

/// Whether an error means that what is stored cannot serve as a base, and not that the store cannot
/// be reached.
pub(in crate::engine) fn is_of_the_base(error: &RepositoryError) -> bool {
    match error {
        RepositoryError::BaseUnusable { cause, .. } => is_of_the_base(cause),
        RepositoryError::Damaged { .. }
        | RepositoryError::BlockMissing { .. }
        | RepositoryError::BackupNotFound { .. } => true,
        _ => false,
    }
}
