//! The list of the chunks of a thin volume that were mapped when its image was taken (FORMAT.md,
//! section 10): a bitmap, stored as a tree like an image's. Written and read in order, in bounded
//! memory, as runs of chunk numbers.
//!
//! It knows neither pools nor what the list is for: a chunk is a number.

mod bits;
mod builder;
mod chunks;
mod root;

pub use builder::MappedListBuilder;
pub use chunks::MappedChunks;
pub use root::MappedRoot;

/// Unit of the bitmap in which it is stored.
const BLOCK_BYTES: u32 = 64 << 10;
/// Chunks of one unit.
const BLOCK_CHUNKS: u64 = BLOCK_BYTES as u64 * 8;

#[cfg(test)]
mod tests;
