//! Everything that knows LVM and device-mapper: what pools and volumes there are, snapshots, the
//! volumes that restores write, mounts, and putting back what a dead process left.
//!
//! Only open files, sizes and typed facts leave it: no other crate names a device path, runs LVM
//! or calls mount(2). It promises that
//! - guards refuse before anything is created (`guard`);
//! - whatever is created, activated or mounted has a durable record first (`record`), and
//!   recovery puts it back when its process is gone (`recovery`);
//! - a volume is removed only if its record and its tag agree;
//! - a device is only read or written after its open file was found to be the volume meant.
//!
//! It knows nothing of repositories, jobs or sockets.

mod activation;
mod chunk_list;
mod command;
mod device;
pub mod direct;
pub mod dm_thin;
mod error;
mod guard;
mod host;
mod inventory;
mod lineage;
mod lock;
mod lookup;
mod metadata_snapshot;
mod mount;
mod mounts;
mod names;
mod quiet;
mod record;
mod recovery;
pub mod report;
mod snapshot;
mod tags;
mod target;
#[cfg(test)]
mod testing;
mod units;

pub use chunk_list::ChunkList;
pub use command::CommandError;
pub use error::{ErrorKind, LvmError};
pub use guard::{PoolLimits, PoolUsage, Refusal, check_pool};
pub use host::{Lvm, LvmOptions, VolumeLock};
pub use inventory::{Inventory, Pool, PoolHealth, Volume, VolumeGroup};
pub use lineage::{Broken, Lineage, PhysicalExtents, PlaceInPool};
pub use lookup::{Place, is_path};
pub use mounts::{DeviceNumber, Mount};
pub use names::{LvName, LvmUuid, NameError, Tag, VgName};
pub use record::{KeptBody, Nonce, Owner, RecordError, RecordProblem};
pub use recovery::{LeftAlone, Recovery};
pub use snapshot::{
    Chunks, Filesystem, KeptBase, MapUnknown, MountedSnapshot, OwnedSnapshot, Purpose, SinceBase,
    Snapshot, ThinMap,
};
pub use target::Target;
pub use units::{Bytes, Percent};
