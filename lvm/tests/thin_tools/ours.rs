//! What thinmover finds, as the tools' answers are kept.

use std::collections::BTreeMap;

use thinmover_lvm::Bytes;
use thinmover_lvm::dm_thin::{ChangedExtent, Device, DeviceId, FileBlocks, ThinMetadata};

use crate::pool::{self, Pool};
use crate::tools::Differences;

/// All devices. The number of data blocks is 0 where it is not known, as in a metadata snapshot.
pub(crate) fn dump(metadata: &mut ThinMetadata<FileBlocks>) -> Pool {
    let mut pool = pool_of(metadata);
    let mut after = None;
    loop {
        let page = metadata.devices_after(after).unwrap();
        let Some(last) = page.last() else { return pool };
        after = Some(last.id);
        for found in page {
            pool.devices.insert(found.id.get(), with_mappings(metadata, &found));
        }
    }
}

/// Only this device.
pub(crate) fn dump_one(metadata: &mut ThinMetadata<FileBlocks>, id: u32) -> Pool {
    let mut pool = pool_of(metadata);
    let found = device(metadata, id);
    pool.devices.insert(id, with_mappings(metadata, &found));
    pool
}

/// What differs between two devices, chunk by chunk.
pub(crate) fn delta(metadata: &mut ThinMetadata<FileBlocks>, from: u32, to: u32) -> Differences {
    let size = metadata.superblock().chunk.bytes().0;
    let [from, to] = [from, to].map(|id| device(metadata, id));
    let mut found = BTreeMap::new();
    for changed in metadata.delta(&from, &to, Bytes(0)..Bytes(u64::MAX)).unwrap() {
        let ChangedExtent { extent, change } = changed.unwrap();
        let chunks = extent.offset.0 / size..(extent.offset.0 + extent.length.0) / size;
        found.extend(chunks.map(|chunk| (chunk, change)));
    }
    found
}

/// The device with that number.
pub(crate) fn device(metadata: &mut ThinMetadata<FileBlocks>, id: u32) -> Device {
    metadata.device(DeviceId::new(id).unwrap()).unwrap()
}

fn pool_of(metadata: &ThinMetadata<FileBlocks>) -> Pool {
    let superblock = metadata.superblock();
    Pool {
        time: superblock.time.get(),
        transaction: superblock.transaction_id,
        chunk_sectors: u32::try_from(superblock.chunk.bytes().0 / 512).unwrap(),
        data_blocks: superblock.data_blocks.unwrap_or(0),
        devices: BTreeMap::new(),
    }
}

fn with_mappings(metadata: &mut ThinMetadata<FileBlocks>, found: &Device) -> pool::Device {
    let mut device = pool::Device {
        mapped: found.mapped_chunks,
        transaction: found.transaction_id,
        creation_time: found.creation_time.get(),
        snapshotted_time: found.snapshotted_time.get(),
        mappings: BTreeMap::new(),
    };
    for run in metadata.mapping_runs(found).unwrap() {
        let run = run.unwrap();
        let (thin, data) = (run.first.thin.0, run.first.data.0);
        let chunk = |step| (thin + step, (data + step, run.first.time.get()));
        device.mappings.extend((0..run.chunks).map(chunk));
    }
    device
}
