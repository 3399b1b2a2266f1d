//! Reading images back: find the blobs of a window of blocks, read them in few large ranges, open
//! and prove each. What cannot be proven is an error that names the range, never bytes.

mod blobs;
mod image;
mod plan;

pub(crate) use blobs::read_located;
pub use image::{Fetched, Image, Opener, ReadLimits};
pub use plan::{PackRead, PlannedBlob};
