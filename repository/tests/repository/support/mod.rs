//! Stores that watch and misbehave, and volumes to back up.

mod faulty;
mod memory;
mod recording;
mod volume;

pub(crate) use faulty::{Fault, FaultyStore};
pub(crate) use memory::MemoryStore;
pub(crate) use recording::RecordingStore;
pub(crate) use volume::*;
