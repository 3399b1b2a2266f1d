//! Which chunks of a snapshot there are, by the pool's own metadata: the rest of it reads as zeroes and
//! need not be read.

use std::path::Path;

use super::Snapshot;
use super::compare::{Compared, compare};
use super::kept::KeptBase;
use crate::chunk_list::{ChunkList, ChunkListWriter};
use crate::device;
use crate::dm_thin::{
    BlockSource, Device, DeviceId, Mapping, MetadataError, PoolTime, Superblock, ThinBlock,
    ThinMetadata,
};
use crate::error::LvmError;
use crate::guard::Refusal;
use crate::host::Lvm;
use crate::inventory::Volume;
use crate::lineage::{Broken, Later, Lineage, PlaceInPool, check_later, metadata_extents};
use crate::metadata_snapshot::MetadataSnapshot;
use crate::record::MetadataSnapshotBody;
use crate::units::Bytes;

/// Chunks between two questions whether to go on.
const CHUNKS_A_STEP: u64 = 1 << 16;

/// Which chunks of a snapshot are mapped.
#[derive(Debug)]
pub struct ThinMap {
    /// Size of the snapshot.
    pub volume: Bytes,
    /// Size of a chunk: 64 KiB to 1 GiB, a multiple of 64 KiB and not always a power of two.
    pub chunk: Bytes,
    /// Those of them that lie in the volume, the last one perhaps in part.
    pub chunks: Chunks,
    /// Why a base that is in the pool was not compared with, and the mappings' times were asked.
    pub not_compared: Option<String>,
    /// What the next snapshot of the volume will be compared with; `None` when the volume is gone.
    pub lineage: Option<Lineage>,
}

/// Which chunks are mapped, and which of them are not what a base had.
#[derive(Debug)]
pub enum Chunks {
    /// All mappings were read.
    Walked {
        /// All that are mapped.
        mapped: ChunkList,
        /// Those of them that were written since the base, or why that cannot be told; `None` where
        /// there was no base.
        written: Option<Result<ChunkList, Broken>>,
    },
    /// A base that is in the pool was compared with, and only what it does not share was read.
    Compared(SinceBase),
}

/// The mapped chunks by those that the base had: of these all below a chunk but the ones that are
/// gone, and all that were written.
#[derive(Debug)]
pub struct SinceBase {
    /// Those that were written since the base.
    pub written: ChunkList,
    /// Those of the base that are no longer mapped, below `below`.
    pub gone: ChunkList,
    /// The chunk from which on the base says nothing.
    pub below: u64,
    /// How many there must be, as the kernel counts them.
    pub chunks: u64,
}

/// Why it is not known which chunks there are. All of the snapshot can be read all the same.
#[derive(Debug, thiserror::Error)]
pub enum MapUnknown {
    /// What is not mapped is read from another device, an external origin (lvmthin(7)).
    #[error("what this volume has not mapped is read from an external origin")]
    ExternalOrigin,
    /// The pool's metadata is being read by another program, for longer than we wait.
    #[error(transparent)]
    Held(Refusal),
    /// The caller did not want to wait any longer.
    #[error("interrupted")]
    Interrupted,
    /// The metadata contradicts itself, or what is known of the snapshot.
    #[error("the pool's metadata contradicts itself: {0}")]
    Contradiction(String),
    /// The metadata could not be read, or not be relied on.
    #[error("the pool's metadata could not be read")]
    Unreadable(#[source] LvmError),
}

impl From<LvmError> for MapUnknown {
    fn from(error: LvmError) -> Self {
        match error {
            LvmError::Refused(held @ Refusal::MetadataHeld { .. }) => Self::Held(held),
            LvmError::Interrupted => Self::Interrupted,
            error => Self::Unreadable(error),
        }
    }
}

impl Snapshot {
    /// Reads which chunks are mapped, and, if there is a `base`, which of them were written since
    /// that: by comparing with it if it was `kept` and still is what it was, else by the times of all
    /// mappings. The pool keeps a metadata snapshot meanwhile, and no longer: by the time this
    /// returns it has been let go of. `go_on` is asked now and then.
    ///
    /// # Errors
    /// Why it cannot be known.
    pub fn map(
        &mut self,
        base: Option<&Lineage>,
        kept: Option<&KeptBase>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<ThinMap, MapUnknown> {
        self.activate()?;
        let (lvm, volume, origin) = (self.lvm.clone(), &self.volume, &self.origin);
        let (pool, id) = thin_device(&lvm, volume)?;
        let extents = metadata_extents(&lvm, &volume.vg_uuid, &pool.pool.name)?;
        let (size, pool_uuid) = (volume.size, pool.pool.uuid.clone());
        let (map, device) = MetadataSnapshot::take(&lvm, pool, go_on)?.read(|metadata| {
            let snapshot = metadata.device(id)?;
            let superblock = metadata.superblock().clone();
            let device = origin.thin_id.map(|id| metadata.device(id)).transpose();
            // It may be gone since the snapshot was made.
            let device = match device {
                Err(MetadataError::NoDevice(_)) => None,
                device => device?,
            };
            let place = device.map(|device| {
                (PlaceInPool::new(origin, &pool_uuid, extents, &superblock, &device), device)
            });
            let since = base.map(|base| since(base, place.as_ref(), &superblock, &snapshot, size));
            let lineage = place.map(|(place, _)| Lineage {
                place,
                volume_bytes: size.0,
                snapshot_time: snapshot.creation_time.get(),
                pool_transaction: superblock.transaction_id,
            });
            Ok(changes(metadata, &snapshot, size, since, kept, lvm.state_dir(), go_on)
                .map(|map| (ThinMap { lineage, ..map }, snapshot)))
        })??;
        self.device = Some(device);
        Ok(map)
    }
}

/// The pool of the active thin `volume` and its device in there. What it has not mapped is zeroes.
pub(crate) fn thin_device(
    lvm: &Lvm,
    volume: &Volume,
) -> Result<(MetadataSnapshotBody, DeviceId), MapUnknown> {
    let unexpected =
        |what: &str| LvmError::Unexpected { volume: volume.alias(), what: what.to_owned() };
    let pool =
        MetadataSnapshotBody::of_pool(volume).ok_or_else(|| unexpected("it is in no thin pool"))?;
    let table = lvm.dmsetup().thin_table(&volume.dm_uuid()).map_err(LvmError::from)?;
    let table = table.ok_or_else(|| unexpected("it is no longer active"))?;
    if table.has_external_origin {
        return Err(MapUnknown::ExternalOrigin);
    }
    let pool_device = device::dm_uuid_of(table.pool)
        .map_err(|source| LvmError::io("identify", "the pool's device", source))?;
    if pool_device != Some(pool.dm_uuid()) {
        return Err(unexpected("its device belongs to another pool").into());
    }
    Ok((pool, table.id))
}

/// From when on mappings are changes, if the base still holds.
fn since(
    base: &Lineage,
    place: Option<&(PlaceInPool, Device)>,
    superblock: &Superblock,
    snapshot: &Device,
    size: Bytes,
) -> Result<Since, Broken> {
    let (place, origin) = place.ok_or(Broken::OtherVolume("it is gone"))?;
    check_later(base, &Later { place, superblock, origin, snapshot })?;
    Since::new(base, size)
}

/// Which mappings are changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    /// Those of this time or a later one.
    pub(super) time: PoolTime,
    /// And all that do not lie below this in the volume.
    pub(super) known: Bytes,
}

/// Reads the map in the cheapest way that can be relied on.
fn changes<S: BlockSource>(
    metadata: &mut ThinMetadata<S>,
    snapshot: &Device,
    size: Bytes,
    mut since: Option<Result<Since, Broken>>,
    kept: Option<&KeptBase>,
    folder: &Path,
    go_on: &dyn Fn() -> bool,
) -> Result<ThinMap, MapUnknown> {
    let mut not_compared = None;
    if let (Some(Ok(at)), Some(kept)) = (&since, kept) {
        let compared = match kept.device(metadata, at.time) {
            Ok(base) => compare(metadata, &base, snapshot, size, *at, folder, go_on)?,
            Err(why) => Compared::Unusable(why),
        };
        match compared {
            Compared::Map(map) => return Ok(*map),
            Compared::Unusable(why) => not_compared = Some(why),
            Compared::Broken(broken) => since = Some(Err(broken)),
        }
    }
    let before = Some(snapshot.creation_time);
    let map = map(metadata, snapshot, before, size, since, folder, go_on)?;
    Ok(ThinMap { not_compared, ..map })
}

/// Asks now and then whether to go on.
pub(super) fn still(step: u64, go_on: &dyn Fn() -> bool) -> Result<(), MapUnknown> {
    if step.is_multiple_of(CHUNKS_A_STEP) && !go_on() {
        return Err(MapUnknown::Interrupted);
    }
    Ok(())
}

/// A mapping of a snapshot that was made after it.
pub(super) fn too_young(thin: ThinBlock, time: PoolTime, snapshot: &Device) -> MapUnknown {
    MapUnknown::Contradiction(format!(
        "chunk {thin} was mapped at pool time {time}, and the snapshot was made at {}",
        snapshot.creation_time
    ))
}

impl Since {
    /// Of a volume that has `size` now, since the moment `base`.
    pub(crate) fn new(base: &Lineage, size: Bytes) -> Result<Self, Broken> {
        let at = base.snapshot_time;
        let time = PoolTime::new(at).ok_or(Broken::ClockAtEnd(at))?;
        Ok(Self::at(time, Bytes(base.volume_bytes), size))
    }

    /// Since `time`, when a volume that has `size` now had the size `base`: beyond the end of a base of
    /// another size old mappings may have come back when the volume grew.
    pub(super) fn at(time: PoolTime, base: Bytes, size: Bytes) -> Self {
        Self { time, known: if base == size { Bytes(u64::MAX) } else { base } }
    }
}

/// Reads the mappings of `device`, a volume of `size` that nobody writes to; all of them are from
/// `before` that time, if there is one. Long lists go to files in `folder`.
pub(crate) fn map<S: BlockSource>(
    metadata: &mut ThinMetadata<S>,
    device: &Device,
    before: Option<PoolTime>,
    size: Bytes,
    since: Option<Result<Since, Broken>>,
    folder: &Path,
    go_on: &dyn Fn() -> bool,
) -> Result<ThinMap, MapUnknown> {
    let chunk = metadata.superblock().chunk.bytes();
    let volume_chunks = size.0.div_ceil(chunk.0);
    let listed = |source| LvmError::io("write a list of chunks to", folder, source);
    let mut mapped = ChunkListWriter::new(folder);
    let mut changed = since.map(|since| since.map(|since| (since, ChunkListWriter::new(folder))));
    let mut found = 0;
    for mapping in metadata.mappings(device).map_err(LvmError::from)? {
        let Mapping { thin, time, .. } = mapping.map_err(LvmError::from)?;
        still(found, go_on)?;
        found += 1;
        if before.is_some_and(|before| time >= before) {
            return Err(too_young(thin, time, device));
        }
        // A volume that was shrunk keeps the mappings beyond its end.
        if thin.0 >= volume_chunks {
            continue;
        }
        mapped.push(thin.0).map_err(listed)?;
        if let Some(Ok((since, changed))) = &mut changed
            && (time >= since.time || thin.0 >= since.known.0 / chunk.0)
        {
            changed.push(thin.0).map_err(listed)?;
        }
    }
    if found != device.mapped_chunks {
        return Err(MapUnknown::Contradiction(format!(
            "{found} chunks are mapped, and {} are said to be",
            device.mapped_chunks
        )));
    }
    let changed = match changed {
        None => None,
        Some(Err(broken)) => Some(Err(broken)),
        Some(Ok((_, changed))) => Some(Ok(changed.finish().map_err(listed)?)),
    };
    let chunks = Chunks::Walked { mapped: mapped.finish().map_err(listed)?, written: changed };
    Ok(ThinMap { volume: size, chunk, chunks, not_compared: None, lineage: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dm_thin::tests::image::{Image, Shape, Volume, device};

    const CHUNK: u64 = 192 * 1024;
    const SHAPE: Shape = Shape { seed: 1, entries: 3, slack: false };

    /// The map of a volume of `size` bytes with these chunks, of which the metadata says that `said`
    /// are mapped, made at pool time 5.
    fn map_of(volume: &Volume, said: usize, size: u64) -> Result<ThinMap, MapUnknown> {
        map_since(volume, said, size, None)
    }

    fn map_since(
        volume: &Volume,
        said: usize,
        size: u64,
        since: Option<Result<Since, Broken>>,
    ) -> Result<ThinMap, MapUnknown> {
        let mut image = Image::new(u32::try_from(CHUNK / 512).unwrap());
        image.creation_time = 5;
        image.add(1, volume, SHAPE);
        let root = image.root_of(1);
        image.add_root(1, root, said as u64);
        let mut metadata = image.read(SHAPE);
        let device = device(&mut metadata, 1);
        let before = Some(device.creation_time);
        map(&mut metadata, &device, before, Bytes(size), since, Path::new("/nonexistent"), &|| true)
    }

    #[test]
    fn what_was_mapped_since_the_base_or_lies_beyond_its_end_is_changed() {
        // Chunk 3 is the one in which the base ended.
        let volume = volume(&[(0, 2), (1, 3), (2, 4), (3, 1), (4, 1), (9, 4)]);
        let changed = |base: u64| {
            let since = Since::at(PoolTime::new(3).unwrap(), Bytes(base), Bytes(9 * CHUNK));
            let map = map_since(&volume, 6, 9 * CHUNK, Some(Ok(since))).unwrap();
            let (mapped, written) = walked(map);
            assert_eq!(mapped.chunks(), 5);
            let mut changed = written.unwrap().unwrap();
            let runs = changed.runs().unwrap().map(Result::unwrap);
            runs.map(|run| (run.start, run.end)).collect::<Vec<_>>()
        };
        assert_eq!(changed(9 * CHUNK), [(1, 3)]);
        assert_eq!(changed(3 * CHUNK + 4096), [(1, 5)]);
        assert_eq!(changed(4 * CHUNK), [(1, 3), (4, 5)]);
        assert_eq!(changed(10 * CHUNK), [(1, 3)]);
        let broken = map_since(&volume, 6, CHUNK, Some(Err(Broken::MetadataMoved))).unwrap();
        assert_eq!(walked(broken).1.unwrap().unwrap_err(), Broken::MetadataMoved);
    }

    fn walked(map: ThinMap) -> (ChunkList, Option<Result<ChunkList, Broken>>) {
        match map.chunks {
            Chunks::Walked { mapped, written } => (mapped, written),
            Chunks::Compared(_) => panic!("there was no base"),
        }
    }

    fn volume(chunks: &[(u64, u32)]) -> Volume {
        chunks.iter().map(|&(thin, time)| (thin, (thin, time))).collect()
    }

    #[test]
    fn what_lies_beyond_the_volume_is_left_out() {
        let volume = volume(&[(0, 0), (1, 4), (3, 0), (4, 1), (5, 1), (900, 2)]);
        let (mut mapped, _) = walked(map_of(&volume, 6, 4 * CHUNK + 4096).unwrap());
        assert_eq!(mapped.chunks(), 4);
        let runs: Vec<_> = mapped.runs().unwrap().map(Result::unwrap).collect();
        assert_eq!(runs, [0..2, 3..5]);
        let (mut empty, _) = walked(map_of(&Volume::new(), 0, CHUNK).unwrap());
        assert_eq!(empty.runs().unwrap().count(), 0);
    }

    #[test]
    fn a_mapping_younger_than_the_snapshot_is_a_contradiction() {
        let error = map_of(&volume(&[(0, 4), (7, 5)]), 2, 100 * CHUNK).unwrap_err();
        assert!(
            matches!(&error, MapUnknown::Contradiction(why) if why.contains("chunk 7")),
            "{error}"
        );
    }

    #[test]
    fn another_number_of_mappings_than_the_kernel_counted_is_a_contradiction() {
        for said in [1, 3] {
            let error = map_of(&volume(&[(0, 4), (7, 4)]), said, 100 * CHUNK).unwrap_err();
            assert!(matches!(error, MapUnknown::Contradiction(_)), "{error}");
        }
    }
}
