//! Which chunks of a volume that is to be overwritten were written since its last backup, by the pool's
//! own metadata. No snapshot is made: nobody else has the volume open, so its mappings stand still.

use super::Target;
use crate::lineage::{Lineage, PlaceInPool, check_metadata, check_place, metadata_extents};
use crate::metadata_snapshot::MetadataSnapshot;
use crate::snapshot::map::{Since, map, thin_device};
use crate::snapshot::{MapUnknown, ThinMap};

impl Target {
    /// Reads which chunks are mapped and which of them were written since `base`, a backup of this very
    /// volume; nothing may have been written by way of this target while it is read. The pool keeps a
    /// metadata snapshot meanwhile. `go_on` is asked now and then.
    ///
    /// # Errors
    /// Why it cannot be known.
    pub fn map(&self, base: &Lineage, go_on: &dyn Fn() -> bool) -> Result<ThinMap, MapUnknown> {
        let (lvm, volume) = (&self.lvm, &self.volume);
        let (pool, id) = thin_device(lvm, volume)?;
        let extents = metadata_extents(lvm, &volume.vg_uuid, &pool.pool.name)?;
        let pool_uuid = pool.pool.uuid.clone();
        MetadataSnapshot::take(lvm, pool, go_on)?.read(|metadata| {
            let device = metadata.device(id)?;
            let place =
                PlaceInPool::new(volume, &pool_uuid, extents, metadata.superblock(), &device);
            let since = check_metadata(metadata, base, Some(&device), go_on)?
                .and_then(|()| check_place(base, &place))
                .and_then(|()| Since::new(base, volume.size));
            let folder = lvm.state_dir();
            Ok(map(metadata, &device, None, volume.size, Some(since), folder, go_on))
        })?
    }
}
