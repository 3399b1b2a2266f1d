//! The thin devices of a pool: the tree from device to the root of its mappings, and the one from
//! device to its details.

use super::block::{u32_at, u64_at};
use super::error::{MetadataError, Problem};
use super::fetch::Fetcher;
use super::lookup::leaf_for;
use super::node::{KeyRange, Node};
use super::source::BlockSource;
use super::superblock::Superblock;
use super::values::{DeviceId, MetadataBlock, PoolTime};

/// `struct disk_device_details` in the kernel's dm-thin-metadata.c.
const DETAILS_BYTES: usize = 24;
const MAPPED_BLOCKS: usize = 0;
const TRANSACTION_ID: usize = 8;
const CREATION_TIME: usize = 16;
const SNAPSHOTTED_TIME: usize = 20;

/// The value of the tree of devices: the block of a mapping tree's root.
const ROOT_BYTES: usize = 8;

const ALL_DEVICES: KeyRange = KeyRange { first: 0, last: DeviceId::MAX as u64 };

/// A thin device as the metadata knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub id: DeviceId,
    /// How many chunks are mapped, by the kernel's own count.
    pub mapped_chunks: u64,
    /// LVM's transaction number when it was made.
    pub transaction_id: u64,
    /// The pool's time when it was made.
    pub creation_time: PoolTime,
    /// The pool's time when it was last snapshotted, or made.
    pub snapshotted_time: PoolTime,
    /// Root of its mappings. Two devices with the same one have the same mappings.
    pub(super) root: MetadataBlock,
}

/// The device with that number.
pub(super) fn find<S: BlockSource>(
    fetch: &mut Fetcher<S>,
    superblock: &Superblock,
    id: DeviceId,
) -> Result<Device, MetadataError> {
    let key = u64::from(id.get());
    let leaf = leaf_for(fetch, superblock.mapping_root, ROOT_BYTES, ALL_DEVICES, key)?;
    let index = find_in(&leaf, key).ok_or(MetadataError::NoDevice(id))?;
    let mut details = Details::default();
    details.device(fetch, superblock, id, MetadataBlock(leaf.value(index)))
}

/// The next devices after one, or the first ones, in the order of their numbers: as many as stand
/// in one leaf. None when there are no more.
pub(super) fn next_after<S: BlockSource>(
    fetch: &mut Fetcher<S>,
    superblock: &Superblock,
    after: Option<DeviceId>,
) -> Result<Vec<Device>, MetadataError> {
    let mut key = after.map_or(0, |id| u64::from(id.get()) + 1);
    while key <= ALL_DEVICES.last {
        let leaf = leaf_for(fetch, superblock.mapping_root, ROOT_BYTES, ALL_DEVICES, key)?;
        let first = leaf.position(key);
        if first == leaf.entries() {
            key = leaf.place().keys.last + 1;
            continue;
        }
        let mut details = Details::default();
        let device = |index| {
            let key = leaf.key(index);
            let id = u32::try_from(key).ok().and_then(DeviceId::new);
            // The range of keys has been checked.
            let id = id.ok_or_else(|| {
                let KeyRange { first, last } = ALL_DEVICES;
                Problem::KeyRange { key, first, last }.at(leaf.place().block)
            })?;
            details.device(fetch, superblock, id, MetadataBlock(leaf.value(index)))
        };
        return (first..leaf.entries()).map(device).collect();
    }
    Ok(Vec::new())
}

fn find_in(leaf: &Node, key: u64) -> Option<usize> {
    let index = leaf.position(key);
    (index < leaf.entries() && leaf.key(index) == key).then_some(index)
}

/// Looks up details, mostly in the leaf where the last ones were.
#[derive(Default)]
struct Details {
    leaf: Option<Node>,
}

impl Details {
    fn device<S: BlockSource>(
        &mut self,
        fetch: &mut Fetcher<S>,
        superblock: &Superblock,
        id: DeviceId,
        root: MetadataBlock,
    ) -> Result<Device, MetadataError> {
        let key = u64::from(id.get());
        let covers = |leaf: &Node| {
            let KeyRange { first, last } = leaf.place().keys;
            (first..=last).contains(&key)
        };
        let leaf = match self.leaf.take().filter(covers) {
            Some(leaf) => leaf,
            None => leaf_for(fetch, superblock.details_root, DETAILS_BYTES, ALL_DEVICES, key)?,
        };
        let block = leaf.place().block;
        let index = find_in(&leaf, key).ok_or_else(|| Problem::NoDetails(id).at(block))?;
        let details = leaf.value_bytes_from(index, DETAILS_BYTES);
        let time = |offset| {
            let time = u32_at(details, offset);
            PoolTime::new(time).ok_or_else(|| Problem::Time(time).at(block))
        };
        let device = Device {
            id,
            mapped_chunks: u64_at(details, MAPPED_BLOCKS),
            transaction_id: u64_at(details, TRANSACTION_ID),
            creation_time: time(CREATION_TIME)?,
            snapshotted_time: time(SNAPSHOTTED_TIME)?,
            root,
        };
        self.leaf = Some(leaf);
        Ok(device)
    }
}
