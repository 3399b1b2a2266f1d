//! The tree of ids that an image is (FORMAT.md, section 10): built in order while blocks are
//! stored, walked in order to read it back. Both hold a few nodes for each level, never the whole.

mod builder;
mod node;
mod root;
mod walk;

pub use builder::ImageBuilder;
pub use root::{BLOCK_BYTES_DEFAULT, ImageRoot, check_block_bytes};
pub(crate) use walk::NodeSource;
pub use walk::{ImageWalk, Window};

/// Entries of a node.
const FANOUT: usize = 128;
