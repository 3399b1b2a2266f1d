//! Reading images back: find the blobs of a window of blocks, read them in few large ranges, open
//! and prove each. What cannot be proven is an error that names the range, never bytes.

mod image;
mod index;
mod plan;

pub use image::{Image, Opener, ReadLimits};
pub(crate) use index::{Located, is_damage, list_indexes};
pub use plan::{PackRead, PlannedBlob};
