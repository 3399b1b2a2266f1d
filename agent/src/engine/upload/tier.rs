//! How much an upload has to read, and why that much.

use thinmover_lvm::{Broken, MapUnknown};

use crate::engine::context::Context;
use crate::failure::{Result, chain};

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// All of the volume.
    Full,
    /// What the pool has chunks for.
    Allocated,
    /// What was written since the volume's last backup.
    Changed,
}

impl Tier {
    /// The word in reports, manifests and the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Allocated => "allocated",
            Self::Changed => "changed",
        }
    }
}

/// What an upload may take unchanged blocks from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Parent {
    /// The volume's last backup, if it holds as a base.
    #[default]
    Auto,
    /// Nothing.
    None,
    /// This backup, which must be the volume's last, if it holds as a base.
    Id(String),
}

/// Why an upload has its tier. The words are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// `full`: the source is no thin volume and is read itself.
    CopyMethodDirect,
    /// `full`: what is not mapped is not zeroes, but what an external origin has.
    ExternalOrigin,
    /// Another program kept us from reading the pool's metadata.
    MetadataHeld,
    /// The pool's metadata could not be read, or not be relied on.
    MetadataUnreadable,
    /// `changed`: the last backup holds as a base.
    BaseHolds,
    /// `changed`: likewise, and its snapshot is still in the pool and was compared with.
    BaseKept,
    /// `allocated`: no base was wanted.
    ParentNone,
    /// `allocated`: the backup that was named is not the volume's last.
    ParentNotLast,
    /// `allocated`: this host knows of no earlier backup to build on.
    NoBase,
    /// `allocated`: the repository no longer has the last backup.
    BaseGone,
    /// `allocated`: the last backup cannot be read from the repository.
    BaseDamaged,
    /// `allocated`: the volume does not carry the tag of the last backup: it, or what this host
    /// remembers, was set back or copied.
    BaseTag,
    /// `allocated`: the last backup has image blocks of another size.
    BlockSize,
    /// `allocated`: the volume is another one, or in another pool.
    VolumeReplaced,
    /// `allocated`: a snapshot was merged into the volume, or it was made anew.
    DeviceReplaced,
    /// `allocated`: the pool's metadata was repaired, swapped or moved.
    MetadataMoved,
    /// `allocated`: the pool's metadata was set back.
    MetadataSetBack,
    /// `allocated`: the pool's clock is near its end.
    PoolClockAtEnd,
    /// `allocated`: the pool's metadata contradicts the last backup.
    BaseContradicted,
    /// `allocated`: a block that should not have changed since the last backup has.
    SpotCheckFailed,
}

impl Reason {
    /// The word in reports, manifests and the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::CopyMethodDirect => "copy-method-direct",
            Self::ExternalOrigin => "external-origin",
            Self::MetadataHeld => "metadata-held",
            Self::MetadataUnreadable => "metadata-unreadable",
            Self::BaseHolds => "base-holds",
            Self::BaseKept => "base-kept",
            Self::ParentNone => "parent-none",
            Self::ParentNotLast => "parent-not-last",
            Self::NoBase => "no-base",
            Self::BaseGone => "base-gone",
            Self::BaseDamaged => "base-damaged",
            Self::BaseTag => "base-tag-missing",
            Self::BlockSize => "block-size-changed",
            Self::VolumeReplaced => "volume-replaced",
            Self::DeviceReplaced => "device-replaced",
            Self::MetadataMoved => "metadata-moved",
            Self::MetadataSetBack => "metadata-set-back",
            Self::PoolClockAtEnd => "pool-clock-at-end",
            Self::BaseContradicted => "base-contradicted",
            Self::SpotCheckFailed => "spot-check-failed",
        }
    }

    /// Whether a word is of a reason that should never be: somebody is to look at the pool.
    pub(in crate::engine) fn is_alarming(word: &str) -> bool {
        [Self::MetadataSetBack, Self::BaseContradicted, Self::SpotCheckFailed]
            .iter()
            .any(|reason| reason.as_str() == word)
    }

    /// Why the last backup is no base. What nobody did on purpose is a warning, too.
    pub(in crate::engine) fn of_broken(broken: &Broken, warnings: &mut Vec<String>) -> Self {
        match broken {
            Broken::OtherVolume(_) => Self::VolumeReplaced,
            Broken::OtherDevice(_) => Self::DeviceReplaced,
            Broken::MetadataMoved => Self::MetadataMoved,
            Broken::ClockAtEnd(_) => Self::PoolClockAtEnd,
            Broken::MetadataSetBack(_) => {
                warnings.push(format!("the last backup is no base: {broken}"));
                Self::MetadataSetBack
            }
        }
    }

    /// Why it is not known which chunks there are. What nobody did on purpose is a warning, too.
    ///
    /// # Errors
    /// When the job is to end.
    pub(in crate::engine) fn of_unknown(
        unknown: &MapUnknown,
        context: &Context,
        warnings: &mut Vec<String>,
    ) -> Result<Self> {
        context.cancel.check()?;
        if matches!(unknown, MapUnknown::ExternalOrigin) {
            return Ok(Self::ExternalOrigin);
        }
        warnings.push(format!("more of the volume was read than needed: {}", chain(unknown)));
        Ok(match unknown {
            MapUnknown::Held(_) => Self::MetadataHeld,
            _ => Self::MetadataUnreadable,
        })
    }
}
