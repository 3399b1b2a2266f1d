//! Where the blobs of a tree come from and go to.

use std::collections::HashMap;

use crate::error::Result;
use crate::id::{BlobKind, Id};

/// What a tree is made of. Each has kinds of its own, so that no id of one passes for the other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TreeKind {
    /// Blocks of an image.
    Image,
    /// Blocks of the bitmap that is a list of mapped chunks.
    Mapped,
}

impl TreeKind {
    /// The kind of its blocks.
    pub(crate) fn block(self) -> BlobKind {
        match self {
            Self::Image => BlobKind::Data,
            Self::Mapped => BlobKind::MappedBits,
        }
    }

    /// The kind of its nodes.
    pub(crate) fn node(self) -> BlobKind {
        match self {
            Self::Image => BlobKind::ImageNode,
            Self::Mapped => BlobKind::MappedNode,
        }
    }
}

/// What the blobs of a backup are read from.
pub(crate) trait BlobSource {
    /// The proven plaintexts of blobs of one kind, each of at most `bytes_max`.
    fn read_blobs(
        &self,
        kind: BlobKind,
        bytes_max: usize,
        ids: &[Id],
    ) -> Result<HashMap<Id, Vec<u8>>>;

    /// The key of the backup's outcome, for messages.
    fn object(&self) -> &str;
}

/// What the blobs of an upload are stored by.
pub(crate) trait BlobSink {
    /// Stores a blob, unless it is known.
    fn store_blob(&mut self, kind: BlobKind, plain: &[u8]) -> Result<Id>;

    /// Makes all it took durable, or leaves a small rest to the commit.
    fn settle(&mut self) -> Result<()>;
}
