//! Stores that watch and misbehave, and volumes to back up.

mod bucket;
mod faulty;
pub(crate) mod lossy;
mod memory;
mod recording;
pub(crate) mod server;
mod volume;

pub(crate) use bucket::{bucket_options, open_bucket};
pub(crate) use faulty::{Fault, FaultyStore};
pub(crate) use memory::MemoryStore;
pub(crate) use recording::RecordingStore;
pub(crate) use volume::*;
