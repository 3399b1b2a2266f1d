//! Trees in memory.

mod memory;

pub(crate) use memory::MemoryBlobs;
