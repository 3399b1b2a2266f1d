//! The numbers dm-thin counts in, each its own type, so that a mix-up does not compile.

use std::fmt;

use crate::units::{Bytes, SECTOR_BYTES};

/// A 4 KiB block of the metadata device, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataBlock(pub u64);

/// A chunk of a thin device, counted from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThinBlock(pub u64);

/// A chunk of the pool's data device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataBlock(pub u64);

/// The pool's clock: it goes up by one with every snapshot made. 24 bits: that is the room a
/// mapping has for it (`unpack_block_time` in the kernel's dm-thin-metadata.c).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolTime(u32);

/// The number of a thin device in its pool. 24 bits (`MAX_DEV_ID` in the kernel's dm-thin.c).
/// LVM gives numbers out again: one alone identifies nothing over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(u32);

/// The size of a pool's chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkSize(Bytes);

impl PoolTime {
    /// The largest there can be.
    pub(crate) const MAX: u32 = (1 << 24) - 1;

    /// `None` where it does not fit 24 bits.
    pub const fn new(time: u32) -> Option<Self> {
        if time <= Self::MAX { Some(Self(time)) } else { None }
    }

    /// As a number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl DeviceId {
    /// The largest there can be.
    pub(super) const MAX: u32 = (1 << 24) - 1;

    /// `None` where it does not fit 24 bits.
    pub const fn new(id: u32) -> Option<Self> {
        if id <= Self::MAX { Some(Self(id)) } else { None }
    }

    /// As a number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl ChunkSize {
    /// dm-thin.c: `DATA_DEV_BLOCK_SIZE_MIN_SECTORS`, 64 KiB; sizes are multiples of it.
    const UNIT_SECTORS: u32 = 128;
    /// dm-thin.c: `DATA_DEV_BLOCK_SIZE_MAX_SECTORS`, 1 GiB.
    const MAX_SECTORS: u32 = 1 << 21;

    /// From a number of 512-byte sectors; `None` where dm-thin would not take it.
    pub fn from_sectors(sectors: u32) -> Option<Self> {
        let valid = sectors > 0
            && sectors <= Self::MAX_SECTORS
            && sectors.is_multiple_of(Self::UNIT_SECTORS);
        valid.then(|| Self(Bytes(u64::from(sectors) * SECTOR_BYTES)))
    }

    /// In bytes: 64 KiB to 1 GiB, a multiple of 64 KiB and not always a power of two.
    pub fn bytes(self) -> Bytes {
        self.0
    }

    /// The last chunk that lies within what a byte offset of 64 bits can name.
    pub(super) fn last_chunk(self) -> u64 {
        u64::MAX / self.0.0 - 1
    }
}

macro_rules! shown_as_a_number {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

shown_as_a_number!(MetadataBlock, ThinBlock, DataBlock, PoolTime, DeviceId, ChunkSize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_the_kernel() {
        assert_eq!(PoolTime::new(0xff_ffff).map(PoolTime::get), Some(0xff_ffff));
        assert_eq!((PoolTime::new(1 << 24), DeviceId::new(1 << 24)), (None, None));
        for (sectors, bytes) in [(128, Some(65536)), (384, Some(196_608)), (1 << 21, Some(1 << 30))]
        {
            assert_eq!(ChunkSize::from_sectors(sectors).map(|size| size.bytes().0), bytes);
        }
        for sectors in [0, 1, 64, 129, (1 << 21) + 128] {
            assert_eq!(ChunkSize::from_sectors(sectors), None, "{sectors}");
        }
    }
}
