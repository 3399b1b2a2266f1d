//! A list's root and sizes.

use super::BLOCK_BYTES;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::image::{ImageRoot, TreeKind};

/// dm-thin's bounds: `DATA_DEV_BLOCK_SIZE_MIN_SECTORS` and `…_MAX_SECTORS` (drivers/md/dm-thin.c).
/// The lower one is the unit as well.
const CHUNK_BYTES_MIN: u32 = 64 << 10;
const CHUNK_BYTES_MAX: u32 = 1 << 30;

/// A whole list of mapped chunks: the id of its tree's root, and the sizes it is for, within the
/// format's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedRoot {
    chunk_bytes: u32,
    volume_bytes: u64,
    bitmap: ImageRoot,
}

impl MappedRoot {
    pub(crate) fn new(id: Id, chunk_bytes: u32, volume_bytes: u64) -> Result<Self> {
        let is_possible = (CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&chunk_bytes)
            && chunk_bytes.is_multiple_of(CHUNK_BYTES_MIN);
        if !is_possible {
            return Err(Error::InvalidInput(format!(
                "a chunk of {chunk_bytes} bytes is not a multiple of 64 KiB up to 1 GiB"
            )));
        }
        if volume_bytes > i64::MAX as u64 {
            return Err(Error::InvalidInput(format!("a volume cannot have {volume_bytes} bytes")));
        }
        let bitmap_bytes = volume_bytes.div_ceil(u64::from(chunk_bytes)).div_ceil(8);
        let bitmap = ImageRoot::new(id, bitmap_bytes, BLOCK_BYTES)?.of_kind(TreeKind::Mapped);
        Ok(Self { chunk_bytes, volume_bytes, bitmap })
    }

    /// The root; the hole where no chunk is mapped.
    pub fn id(&self) -> Id {
        self.bitmap.id()
    }

    /// The pool's chunk size.
    pub fn chunk_bytes(&self) -> u32 {
        self.chunk_bytes
    }

    /// Size of the volume.
    pub fn volume_bytes(&self) -> u64 {
        self.volume_bytes
    }

    /// Number of the volume's chunks, the last of which it may use in part.
    pub fn chunks(&self) -> u64 {
        self.volume_bytes.div_ceil(u64::from(self.chunk_bytes))
    }

    /// The tree over the bitmap.
    pub(crate) fn bitmap(&self) -> ImageRoot {
        self.bitmap
    }

    pub(super) fn with_id(self, id: Id) -> Self {
        Self { bitmap: self.bitmap.with_id(id), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_multiples_of_64_kib_up_to_1_gib() {
        let list = |chunk_bytes| MappedRoot::new(Id::HOLE, chunk_bytes, 1 << 30);
        for chunk_bytes in [64 << 10, 192 << 10, 1 << 30] {
            assert_eq!(list(chunk_bytes).unwrap().chunk_bytes(), chunk_bytes);
        }
        for chunk_bytes in [0, 1, 32 << 10, (64 << 10) + 512, (1 << 30) + (64 << 10), u32::MAX] {
            assert!(list(chunk_bytes).is_err(), "{chunk_bytes}");
        }
        assert!(MappedRoot::new(Id::HOLE, 64 << 10, 1 << 63).is_err());
    }

    #[test]
    fn the_last_chunk_may_be_used_in_part() {
        let chunks = |bytes| MappedRoot::new(Id::HOLE, 192 << 10, bytes).unwrap().chunks();
        assert_eq!([0, 1, 192 << 10, (192 << 10) + 1].map(chunks), [0, 1, 1, 2]);
    }
}
