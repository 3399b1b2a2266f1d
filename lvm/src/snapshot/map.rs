//! Which chunks of a snapshot there are, by the pool's own metadata: the rest of it reads as zeroes and
//! need not be read.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::Snapshot;
use crate::chunk_list::{ChunkList, ChunkListWriter};
use crate::device;
use crate::dm_thin::{BlockSource, Device, ThinMetadata};
use crate::error::LvmError;
use crate::guard::Refusal;
use crate::metadata_snapshot::MetadataSnapshot;
use crate::names::dm_pool_uuid;
use crate::record::{MetadataSnapshotBody, Named};
use crate::units::Bytes;

/// Chunks between two questions whether to go on.
const CHUNKS_A_STEP: u64 = 1 << 16;

/// Which chunks of a snapshot are mapped.
#[derive(Debug)]
pub struct ThinMap {
    /// Size of the snapshot.
    volume: Bytes,
    /// Size of a chunk: 64 KiB to 1 GiB, a multiple of 64 KiB and not always a power of two.
    pub chunk: Bytes,
    /// Those of them that lie in the volume, the last one perhaps in part.
    pub mapped: ChunkList,
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

impl ThinMap {
    /// The ranges of the volume that are mapped, in bytes, in ascending order: not empty, and not
    /// touching each other.
    ///
    /// # Errors
    /// When the list cannot be read back, here or as the last item.
    pub fn extents(&mut self) -> io::Result<impl Iterator<Item = io::Result<Range<u64>>> + '_> {
        let (chunk, end) = (self.chunk.0, self.volume.0);
        let runs = self.mapped.runs()?;
        Ok(runs.map(move |run| run.map(|run| run.start * chunk..(run.end * chunk).min(end))))
    }
}

impl Snapshot {
    /// Reads which chunks are mapped. The pool keeps a metadata snapshot meanwhile, and no longer:
    /// by the time this returns it has been let go of. `go_on` is asked now and then.
    ///
    /// # Errors
    /// Why it cannot be known.
    pub fn map(&mut self, go_on: &dyn Fn() -> bool) -> Result<ThinMap, MapUnknown> {
        self.activate()?;
        let (lvm, volume) = (self.lvm.clone(), &self.volume);
        let unexpected =
            |what: &str| LvmError::Unexpected { volume: volume.alias(), what: what.to_owned() };
        let (Some(pool), Some(pool_uuid)) = (&volume.pool, &volume.pool_uuid) else {
            return Err(unexpected("it is in no thin pool").into());
        };
        let table = lvm.dmsetup().thin_table(&volume.dm_uuid()).map_err(LvmError::from)?;
        let table = table.ok_or_else(|| unexpected("it is no longer active"))?;
        if table.has_external_origin {
            return Err(MapUnknown::ExternalOrigin);
        }
        let pool_device = device::dm_uuid_of(table.pool)
            .map_err(|source| LvmError::io("identify", "the pool's device", source))?;
        if pool_device != Some(dm_pool_uuid(&volume.vg_uuid, pool_uuid)) {
            return Err(unexpected("its device belongs to another pool").into());
        }
        let pool = MetadataSnapshotBody {
            vg: Named { name: volume.vg.clone(), uuid: volume.vg_uuid.clone() },
            pool: Named { name: pool.clone(), uuid: pool_uuid.clone() },
            taken: None,
        };
        let size = volume.size;
        MetadataSnapshot::take(&lvm, pool, go_on)?.read(|metadata| {
            let device = metadata.device(table.id)?;
            Ok(map(metadata, &device, size, lvm.state_dir(), go_on))
        })?
    }
}

/// Reads the mappings of `device`, a snapshot of `size` that nobody has written to. A long list goes to
/// a file in `folder`.
fn map<S: BlockSource>(
    metadata: &mut ThinMetadata<S>,
    device: &Device,
    size: Bytes,
    folder: &Path,
    go_on: &dyn Fn() -> bool,
) -> Result<ThinMap, MapUnknown> {
    let chunk = metadata.superblock().chunk.bytes();
    let volume_chunks = size.0.div_ceil(chunk.0);
    let listed = |source| LvmError::io("write a list of chunks to", folder, source);
    let mut mapped = ChunkListWriter::new(folder);
    let mut found = 0;
    for mapping in metadata.mappings(device).map_err(LvmError::from)? {
        let mapping = mapping.map_err(LvmError::from)?;
        if found % CHUNKS_A_STEP == 0 && !go_on() {
            return Err(MapUnknown::Interrupted);
        }
        found += 1;
        if mapping.time >= device.creation_time {
            return Err(MapUnknown::Contradiction(format!(
                "chunk {} was mapped at pool time {}, and the snapshot was made at {}",
                mapping.thin, mapping.time, device.creation_time
            )));
        }
        // A volume that was shrunk keeps the mappings beyond its end.
        if mapping.thin.0 < volume_chunks {
            mapped.push(mapping.thin.0).map_err(listed)?;
        }
    }
    if found != device.mapped_chunks {
        return Err(MapUnknown::Contradiction(format!(
            "{found} chunks are mapped, and {} are said to be",
            device.mapped_chunks
        )));
    }
    Ok(ThinMap { volume: size, chunk, mapped: mapped.finish().map_err(listed)? })
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
        let mut image = Image::new(u32::try_from(CHUNK / 512).unwrap());
        image.creation_time = 5;
        image.add(1, volume, SHAPE);
        let root = image.root_of(1);
        image.add_root(1, root, said as u64);
        let mut metadata = image.read(SHAPE);
        let device = device(&mut metadata, 1);
        map(&mut metadata, &device, Bytes(size), Path::new("/nonexistent"), &|| true)
    }

    fn volume(chunks: &[(u64, u32)]) -> Volume {
        chunks.iter().map(|&(thin, time)| (thin, (thin, time))).collect()
    }

    #[test]
    fn extents_end_with_the_volume() {
        let volume = volume(&[(0, 0), (1, 4), (3, 0), (4, 1), (5, 1), (900, 2)]);
        let mut map = map_of(&volume, 6, 4 * CHUNK + 4096).unwrap();
        assert_eq!(map.mapped.chunks(), 4);
        let extents: Vec<_> = map.extents().unwrap().map(Result::unwrap).collect();
        assert_eq!(extents, [0..2 * CHUNK, 3 * CHUNK..4 * CHUNK + 4096]);
        let mut empty = map_of(&Volume::new(), 0, CHUNK).unwrap();
        assert_eq!(empty.extents().unwrap().count(), 0);
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
