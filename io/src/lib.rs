//! The bottom of the workspace: aligned buffers, files that bypass the page cache, and what a block
//! device offers beyond a file (its size, discard, zeroing). Beside these, what the kernel tells only
//! through a raw system call: the groups of a socket's peer.
//!
//! Nothing here knows LVM, the stored format or a path of the host: callers hand in open files and
//! get bytes, through an [`IoEngine`] that is either io_uring or a few blocking threads.

mod aligned;
mod block_device;
mod crash;
mod direct;
mod engine;
mod peer;
mod pool;
mod unnamed;
mod write_behind;

pub use aligned::{ALIGNMENT, AlignedBuffer};
pub use block_device::{discard, size_bytes};
pub use crash::crash_point;
pub use direct::DirectFile;
#[cfg(any(test, feature = "fault-injection"))]
pub use engine::Faults;
pub use engine::{Completion, EngineKind, IoEngine, IoFile, Request};
pub use peer::peer_groups;
pub use pool::{BufferPool, PooledBuffer};
pub use unnamed::{create_unnamed, link_unnamed};
pub use write_behind::{WriteBehind, WriteFailed};
