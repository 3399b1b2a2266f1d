//! How much an upload has to read, and why that much.

use thinmover_lvm::MapUnknown;

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// All of the volume.
    Full,
    /// What the pool has chunks for.
    Allocated,
}

impl Tier {
    /// The word in reports, manifests and the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Allocated => "allocated",
        }
    }
}

/// Why an upload has its tier. The words are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// `full`: the source is no thin volume and is read itself.
    CopyMethodDirect,
    /// `full`: what is not mapped is not zeroes, but what an external origin has.
    ExternalOrigin,
    /// `full`: another program kept us from reading the pool's metadata.
    MetadataHeld,
    /// `full`: the pool's metadata could not be read, or not be relied on.
    MetadataUnreadable,
    /// `allocated`: there is no earlier backup whose changes could be told.
    NoBase,
}

impl Reason {
    /// The word in reports, manifests and the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::CopyMethodDirect => "copy-method-direct",
            Self::ExternalOrigin => "external-origin",
            Self::MetadataHeld => "metadata-held",
            Self::MetadataUnreadable => "metadata-unreadable",
            Self::NoBase => "no-base",
        }
    }

    /// Why all of a snapshot must be read when its map is not known; `None` where the job is to end.
    pub(crate) fn of(unknown: &MapUnknown) -> Option<Self> {
        match unknown {
            MapUnknown::ExternalOrigin => Some(Self::ExternalOrigin),
            MapUnknown::Held(_) => Some(Self::MetadataHeld),
            MapUnknown::Contradiction(_) | MapUnknown::Unreadable(_) => {
                Some(Self::MetadataUnreadable)
            }
            MapUnknown::Interrupted => None,
        }
    }
}
