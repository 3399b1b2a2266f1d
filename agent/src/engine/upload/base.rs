//! The base of an upload: the volume's last backup, from which it takes what did not change. It is
//! the backup that this host's own note names, never the newest in the repository, and the volume
//! must carry the note's number as a tag: so a copy of the host or of the disk, and either of the
//! two set back, do not pass for each other.

use thinmover_lvm::{Lineage, Nonce, Volume};
use thinmover_repository::{Error as RepositoryError, Image, Manifest, ReadLimits, Repository};
use uuid::Uuid;

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
}

/// What `engine`'s host remembers of the last backup in `repository` of the volume with this identity,
/// and a warning if the repository lost it.
pub(in crate::engine) fn last(
    engine: &Engine,
    repository: &Repository,
    identity: &str,
    warnings: &mut Vec<String>,
) -> Result<Last> {
    let note = LastBackup::read(&engine.settings.state_dir, identity)
        .filter(|last| last.repository == id_of(repository));
    let Some(last) = note else { return Ok(Last::default()) };
    match repository.backup(&last.backup) {
        Ok(manifest) => {
            Ok(Last { remembered: Some(last), manifest: Some(manifest), is_damaged: false })
        }
        Err(RepositoryError::BackupNotFound { .. }) => {
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

fn id_of(repository: &Repository) -> String {
    Uuid::from_bytes(repository.descriptor().id).simple().to_string()
}

impl Last {
    /// The backup and the moment of `volume` that it is of, if the host's note, the repository and the
    /// tag on the volume agree on it.
    pub(in crate::engine) fn agreed(
        &self,
        volume: &Volume,
    ) -> std::result::Result<(&Manifest, Lineage), Reason> {
        if self.is_damaged {
            return Err(Reason::BaseDamaged);
        }
        let note = self.remembered.as_ref().and_then(|last| last.note.clone());
        let Some(Note { nonce, lineage }) = note else { return Err(Reason::NoBase) };
        let Some(manifest) = &self.manifest else { return Err(Reason::BaseGone) };
        // Both were written at one time.
        let noted = serde_json::to_value(&lineage).ok();
        if manifest.lineage.is_none() || manifest.lineage != noted {
            return Err(Reason::NoBase);
        }
        if volume.base().as_ref() != Some(&nonce) {
            return Err(Reason::BaseTag);
        }
        Ok((manifest, lineage))
    }
}

impl Upload<'_> {
    /// The base, if there is one and it holds as far as can be told before the snapshot is made;
    /// else why not.
    pub(super) fn base(
        &self,
        volume: &Volume,
        last: &Last,
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
        let (manifest, lineage) = match last.agreed(volume) {
            Ok(agreed) => agreed,
            Err(reason) => return Ok(Err(reason)),
        };
        if manifest.block_bytes != self.block_bytes {
            return Ok(Err(Reason::BlockSize));
        }
        let go_on = || self.context.cancel.check().is_ok();
        match self.engine.lvm.check_base(volume, &lineage, &go_on) {
            Ok(Ok(())) => {}
            Ok(Err(broken)) => return Ok(Err(Reason::of_broken(&broken, warnings))),
            Err(unknown) => return Ok(Err(self.why_unknown(&unknown, warnings)?)),
        }
        let limits = ReadLimits { index_cache_bytes: self.limits.index_bytes / 2 };
        match self.repository.image(manifest, limits) {
            Ok(image) if image.mapped().is_some() => Ok(Ok(Base { image, lineage })),
            Ok(_) => Ok(Err(Reason::NoBase)),
            Err(error) if is_of_the_base(&error) => {
                warnings.push(format!("backup {} is no base: {error}", manifest.id));
                Ok(Err(Reason::BaseDamaged))
            }
            Err(error) => Err(Failure::from(error)),
        }
    }

    /// Notes the backup as the volume's base: here and, by a tag, on the volume itself. What fails
    /// costs the next upload its base and is a warning.
    pub(super) fn note(
        &self,
        identity: &str,
        backup: &str,
        of: Option<(&Volume, Lineage)>,
        warnings: &mut Vec<String>,
    ) {
        let noted = of.and_then(|(volume, lineage)| match Nonce::random() {
            Ok(nonce) => Some((volume, Note { nonce, lineage })),
            Err(error) => {
                warnings.push(format!("the next backup has no base: /dev/urandom: {error}"));
                None
            }
        });
        let note = noted.as_ref().map(|(_, note)| note.clone());
        let last = LastBackup::new(id_of(self.repository), backup.to_owned(), note);
        if let Err(error) = last.write(&self.engine.settings.state_dir, identity) {
            warnings.push(format!("the backup is made, but this host cannot note it: {error}"));
            return;
        }
        if let Some((volume, note)) = noted
            && let Err(error) = self.engine.lvm.set_base(volume, &note.nonce)
        {
            warnings.push(format!(
                "the backup is made, but the next one has no base: {}",
                crate::failure::chain(&error)
            ));
        }
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
