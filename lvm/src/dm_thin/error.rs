//! What can be wrong with a pool's metadata.

use std::io;

use super::values::{DeviceId, MetadataBlock};

/// Metadata that could not be read, or that nothing may be concluded from.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// A block is not what its place in the metadata calls for.
    #[error("metadata block {block}: {problem}")]
    Damaged {
        /// Which block.
        block: MetadataBlock,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The device or file could not be read.
    #[error("metadata block {block} could not be read: {source}")]
    Read {
        /// Which block.
        block: MetadataBlock,
        /// What the system reports.
        source: io::Error,
    },
    /// The pool has no such device.
    #[error("there is no thin device {0} in this pool")]
    NoDevice(DeviceId),
    /// The pool went on, or its metadata snapshot was released, while it was read: what was read
    /// may belong to different moments.
    #[error("the metadata changed while it was read")]
    Changed,
    /// The pool that writes this metadata is active, and there is no metadata snapshot to read.
    #[error("{device} is in use by the active device {holder} and has no metadata snapshot")]
    Live {
        /// The metadata device.
        device: String,
        /// The kernel's name of what is on top of it.
        holder: String,
    },
    /// A block device that cannot be read past the page cache, which knows only old metadata.
    #[error("{device} cannot be read past the page cache")]
    NotDirect {
        /// The metadata device.
        device: String,
    },
}

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It lies outside of the device or file.
    #[error("it is past the end of the metadata")]
    PastTheEnd,
    /// Altered, or not of the kind that was expected.
    #[error("wrong checksum {stored:#010x}, its content has {computed:#010x}")]
    Checksum {
        /// As stored.
        stored: u32,
        /// Over what is stored.
        computed: u32,
    },
    /// It says that it is another block.
    #[error("it says that it is block {0}")]
    Misplaced(u64),
    /// The superblock's magic number is another.
    #[error("it is no superblock of a thin pool (magic number {0})")]
    NoSuperblock(u64),
    /// A version this reader does not know.
    #[error("version {0} of the metadata is not known")]
    Version(u32),
    /// The kernel would refuse it, too.
    #[error("it needs features that are not known ({0:#x})")]
    Features(u32),
    /// Metadata blocks are 4 KiB.
    #[error("metadata blocks of {0} sectors instead of 8")]
    BlockSize(u32),
    /// dm-thin has no such chunks.
    #[error("chunks of {0} sectors cannot be")]
    ChunkSize(u32),
    /// Past this the kernel mixes up times and blocks.
    #[error("pool time {0} does not fit 24 bits")]
    Time(u32),
    /// Neither leaf nor internal, or both.
    #[error("unknown kind of node (flags {0:#x})")]
    NodeKind(u32),
    /// A leaf stands where the tree's height calls for an internal node, or the other way round.
    #[error("a {} at the height of {}", kind(*.is_leaf), kind(!*.is_leaf))]
    Height {
        /// What it is.
        is_leaf: bool,
    },
    /// A chain of nodes longer than any real tree is high.
    #[error("the tree is higher than {0} nodes")]
    TooHigh(usize),
    /// Values of another size than this tree has.
    #[error("values of {found} bytes instead of {expected}")]
    ValueSize {
        /// As stored.
        found: u32,
        /// As it should be.
        expected: usize,
    },
    /// More entries than fit, or than it says it has room for.
    #[error("{entries} entries of {max_entries}, which cannot be in one block")]
    EntryCount {
        /// How many it says it has.
        entries: u32,
        /// For how many it says it has room.
        max_entries: u32,
    },
    /// An internal node leads nowhere.
    #[error("an internal node without entries")]
    NoChildren,
    /// Keys do not ascend.
    #[error("key {key} comes after key {before}")]
    KeyOrder {
        /// The key before.
        before: u64,
        /// The offending key.
        key: u64,
    },
    /// A key belongs elsewhere in the tree, or nowhere.
    #[error("key {key} is outside of {first} to {last}")]
    KeyRange {
        /// The offending key.
        key: u64,
        /// The first key that may be there.
        first: u64,
        /// The last key that may be there.
        last: u64,
    },
    /// A device has mappings and no details.
    #[error("device {0} has no details")]
    NoDetails(DeviceId),
}

fn kind(is_leaf: bool) -> &'static str {
    if is_leaf { "leaf" } else { "internal node" }
}

impl Problem {
    /// Says of which block.
    pub(super) fn at(self, block: MetadataBlock) -> MetadataError {
        MetadataError::Damaged { block, problem: self }
    }
}
