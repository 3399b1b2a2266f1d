//! What a snapshot has since a base that is still in the pool, by the two trees alone: what they share
//! is not read, so the cost follows the change. The list of what is mapped is not read either, it
//! follows from the base's.

use std::path::Path;

use super::map::{Chunks, Since, SinceBase, ThinMap, still, too_young};
use crate::chunk_list::ChunkListWriter;
use crate::dm_thin::{BlockSource, Device, Mapping, ThinBlock, ThinMetadata};
use crate::error::LvmError;
use crate::lineage::Broken;
use crate::snapshot::MapUnknown;
use crate::units::Bytes;

/// What came of a comparison.
#[derive(Debug)]
pub(super) enum Compared {
    /// What changed.
    Map(Box<ThinMap>),
    /// The base in the pool is not as the last backup read it. Nothing else follows from that.
    Unusable(String),
    /// The two contradict the last backup, whichever way one looks at it.
    Broken(Broken),
}

/// Compares `snapshot`, of `size` and written to by nobody, with `base`, an earlier one of the same
/// volume. Long lists go to files in `folder`.
pub(super) fn compare<S: BlockSource>(
    metadata: &mut ThinMetadata<S>,
    base: &Device,
    snapshot: &Device,
    size: Bytes,
    since: Since,
    folder: &Path,
    go_on: &dyn Fn() -> bool,
) -> Result<Compared, MapUnknown> {
    let chunk = metadata.superblock().chunk.bytes();
    let volume_chunks = size.0.div_ceil(chunk.0);
    // From here on all that is mapped counts as changed, or lies beyond the end.
    let below = (since.known.0 / chunk.0).min(volume_chunks);
    let listed = |source| LvmError::io("write a list of chunks to", folder, source);
    let (mut written, mut gone) = (ChunkListWriter::new(folder), ChunkListWriter::new(folder));
    let (mut added, mut removed, mut older) = (0, 0, None);
    let differences = match metadata.differences(base, snapshot) {
        Ok(differences) => differences,
        Err(error) => return Ok(Compared::Unusable(error.to_string())),
    };
    for (difference, step) in differences.zip(0..) {
        still(step, go_on)?;
        let difference = match difference {
            Ok(difference) => difference,
            Err(error) => return Ok(Compared::Unusable(error.to_string())),
        };
        let thin = difference.thin;
        if let Some(was) = difference.left.filter(|was| was.time >= since.time) {
            return Ok(Compared::Unusable(format!(
                "its chunk {thin} was written to at pool time {}",
                was.time
            )));
        }
        added += u64::from(difference.left.is_none());
        removed += u64::from(difference.right.is_none());
        match difference.right {
            Some(Mapping { time, .. }) if time >= snapshot.creation_time => {
                return Err(too_young(thin, time, snapshot));
            }
            _ if thin.0 >= below => {}
            Some(Mapping { time, .. }) => {
                if time < since.time {
                    older.get_or_insert(thin);
                }
                written.push(thin.0).map_err(listed)?;
            }
            None => gone.push(thin.0).map_err(listed)?,
        }
    }
    if base.mapped_chunks.saturating_add(added) != snapshot.mapped_chunks.saturating_add(removed) {
        return Ok(Compared::Unusable(format!(
            "{added} chunks came and {removed} went, from {} to {}",
            base.mapped_chunks, snapshot.mapped_chunks
        )));
    }
    if let Some(ThinBlock(thin)) = older {
        return Ok(Compared::Broken(Broken::MetadataSetBack(format!(
            "chunk {thin} was mapped before the last backup, which has it elsewhere"
        ))));
    }
    let mut beyond = 0;
    for (mapping, step) in metadata.mappings_from(snapshot, below).map_err(LvmError::from)?.zip(0..)
    {
        still(step, go_on)?;
        let Mapping { thin, time, .. } = mapping.map_err(LvmError::from)?;
        if time >= snapshot.creation_time {
            return Err(too_young(thin, time, snapshot));
        }
        if thin.0 < volume_chunks {
            written.push(thin.0).map_err(listed)?;
        } else {
            beyond += 1;
        }
    }
    let since = SinceBase {
        written: written.finish().map_err(listed)?,
        gone: gone.finish().map_err(listed)?,
        below,
        chunks: snapshot.mapped_chunks.saturating_sub(beyond),
    };
    Ok(Compared::Map(Box::new(ThinMap {
        volume: size,
        chunk,
        chunks: Chunks::Compared(since),
        not_compared: None,
        lineage: None,
    })))
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
