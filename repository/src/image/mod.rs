//! The tree of ids that an image is (FORMAT.md, section 10): built in order while blocks are
//! stored, made from another with only what changed, walked in order to read it back, compared with
//! another. All hold a few nodes for each level, never the whole.
//!
//! It knows nodes and ids, not where blobs lie: they come from a [`BlobSource`] and go to a
//! [`BlobSink`].

mod based;
mod blobs;
mod builder;
mod diff;
mod lookup;
mod node;
mod reach;
mod root;
#[cfg(test)]
mod tests;
mod tree;
mod walk;

pub use based::BasedImage;
pub(crate) use blobs::{BlobSink, BlobSource, TreeKind};
pub use builder::ImageBuilder;
pub use diff::{ChangedBlock, ImageDiff};
pub(crate) use lookup::block_ids;
pub(crate) use reach::for_each_id;
pub use root::{BLOCK_BYTES_DEFAULT, ImageRoot, check_block_bytes};
#[cfg(test)]
pub(crate) use tests::MemoryBlobs;
pub use walk::{ImageWalk, Window};

/// Entries of a node.
const FANOUT: usize = 128;
