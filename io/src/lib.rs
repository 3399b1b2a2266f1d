//! The bottom of the workspace: aligned buffers, files that bypass the page cache, and what a block
//! device offers beyond a file (its size, discard, zeroing). Beside these, what only a raw call tells
//! or does: the groups of a socket's peer, and the heap given back to the kernel.
//!
//! Nothing here knows LVM, the stored format or a path of the host: callers hand in open files and
//! get bytes, through an [`IoEngine`] that is either io_uring or a few blocking threads.

mod aligned;
mod block_device;
mod crash;
mod direct;
mod engine;
mod heap;
mod peer;
mod pool;
mod reserve;
mod unnamed;
mod write_behind;

pub use aligned::{ALIGNMENT, AlignedBuffer};
pub use block_device::{discard, size_bytes};
pub use crash::crash_point;
pub use direct::{DirectFile, set_direct};
#[cfg(any(test, feature = "fault-injection"))]
pub use engine::Faults;
pub use engine::{Completion, EngineKind, IoEngine, IoFile, Request};
pub use heap::{keep_heap_small, kept_heap_bytes, trim_heap};
pub use peer::peer_groups;
pub use pool::{BufferPool, PooledBuffer};
pub use unnamed::{create_unnamed, link_unnamed};
pub use write_behind::{WriteBehind, WriteFailed};
