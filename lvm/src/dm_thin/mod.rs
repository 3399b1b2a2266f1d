//! dm-thin's own metadata: which chunks of a thin device are mapped, since when, and what two
//! devices differ in. Read only; laid out as the kernel's drivers/md/dm-thin-metadata.c and
//! persistent-data/ have it.
//!
//! It promises that what it answers is exactly what the metadata says, or an error that names the
//! block: bytes are hostile until checked, and no tree, however wrong, makes it panic, run on or
//! use more memory. It knows no LVM, and nobody's idea of what the answers are good for.
//!
//! From the bottom: `block`, `superblock` and `node` parse one block each, pure functions over its
//! bytes. `source` reads runs of blocks, `fetch` turns single wishes into sorted runs. `walk` goes
//! down one tree or two together, `lookup` finds one key. `mappings`, `delta` and `extents` are
//! what a caller sees, through `reader`.

mod block;
mod delta;
mod device;
mod error;
mod extents;
mod fetch;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod lookup;
mod mappings;
#[cfg(any(test, feature = "fuzzing"))]
mod memory;
mod node;
mod open;
mod reader;
mod runs;
mod source;
mod superblock;
#[cfg(test)]
pub(crate) mod tests;
mod values;
mod walk;

pub use delta::Change;
pub use device::Device;
pub use error::{MetadataError, Problem};
pub use extents::{ChangedExtent, Extent};
pub use mappings::{Mapping, MappingRun, Mappings};
pub use open::open;
pub use reader::{Root, ThinMetadata};
pub use source::{BlockSource, FileBlocks};
pub use superblock::Superblock;
pub use values::{ChunkSize, DataBlock, DeviceId, MetadataBlock, PoolTime, ThinBlock};
