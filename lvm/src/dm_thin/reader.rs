//! The metadata of one pool, to be asked for devices, mappings and differences.

use std::ops::Range;

use super::block::Block;
use super::delta::{Difference, Differences};
use super::device::{self, Device};
use super::error::MetadataError;
use super::extents::{ChangedExtent, Extent, chunks_in, extents};
use super::fetch::Fetcher;
use super::mappings::{Mapping, MappingRun, Mappings};
use super::node::KeyRange;
use super::runs::joined;
use super::source::BlockSource;
use super::superblock::Superblock;
use super::values::{DeviceId, MetadataBlock, PoolTime};
use super::walk::Walk;
use crate::units::Bytes;

/// Where the superblock is, in a pool's metadata.
const SUPERBLOCK: MetadataBlock = MetadataBlock(0);

/// Which superblock to start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// The pool's own, in block 0. Right only while no pool writes the metadata.
    Superblock,
    /// That of the metadata snapshot the pool holds, in this block (the status line's held root).
    /// Nothing that hangs from it changes while it is held.
    Held(MetadataBlock),
    /// That of the metadata snapshot if the pool's superblock names one, else the pool's own.
    HeldIfAny,
}

/// The metadata of a pool, read from `S`.
///
/// What it answers is exact or an error that names the block: every node is checked by checksum,
/// place, kind, size, order and range before anything of it is used. Answers stream, and memory
/// is about 12 MiB whatever the pool's size.
#[derive(Debug)]
pub struct ThinMetadata<S> {
    fetch: Fetcher<S>,
    held: Option<MetadataBlock>,
    superblock: Superblock,
    /// The superblock's block as it was read.
    as_read: Box<Block>,
}

impl<S: BlockSource> ThinMetadata<S> {
    /// Reads the superblock.
    ///
    /// # Errors
    /// When there is none that can be relied on.
    pub fn new(source: S, root: Root) -> Result<Self, MetadataError> {
        let mut fetch = Fetcher::new(source);
        let held = match root {
            Root::Superblock => None,
            Root::Held(block) => Some(block),
            Root::HeldIfAny => superblock(&mut fetch, SUPERBLOCK)?.0.held_root,
        };
        let (superblock, as_read) = superblock(&mut fetch, held.unwrap_or(SUPERBLOCK))?;
        Ok(Self { fetch, held, superblock, as_read })
    }

    /// What the superblock says that is read from.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The block of the metadata snapshot that is read, if it is one.
    pub fn held_root(&self) -> Option<MetadataBlock> {
        self.held
    }

    /// How many metadata blocks have been asked for so far, for reports.
    pub fn blocks_read(&self) -> u64 {
        self.fetch.asked()
    }

    /// The device with that number.
    ///
    /// # Errors
    /// [`NoDevice`](MetadataError::NoDevice), or what keeps it from being looked up.
    pub fn device(&mut self, id: DeviceId) -> Result<Device, MetadataError> {
        device::find(&mut self.fetch, &self.superblock, id)
    }

    /// The next devices after one, or the first ones, in the order of their numbers: at least one
    /// and at most a few hundred, none when there are no more.
    ///
    /// # Errors
    /// What keeps them from being looked up.
    pub fn devices_after(&mut self, after: Option<DeviceId>) -> Result<Vec<Device>, MetadataError> {
        device::next_after(&mut self.fetch, &self.superblock, after)
    }

    /// All mappings of a device, in the order of its chunks.
    ///
    /// # Errors
    /// What keeps them from being read, here or as the last item.
    pub fn mappings(&mut self, device: &Device) -> Result<Mappings<'_, S>, MetadataError> {
        let all = self.all_chunks();
        self.mappings_within(device, all)
    }

    /// All mappings of a device, neighbours joined.
    ///
    /// # Errors
    /// As [`mappings`](Self::mappings).
    pub fn mapping_runs(
        &mut self,
        device: &Device,
    ) -> Result<impl Iterator<Item = Result<MappingRun, MetadataError>> + use<'_, S>, MetadataError>
    {
        let mappings = self.mappings(device)?;
        Ok(joined(mappings.map(|mapping| mapping.map(MappingRun::from))))
    }

    /// What of the volume is mapped `within` a range of it, which ends at the volume's size at the
    /// latest: metadata can hold mappings beyond the end of a volume that was shrunk.
    ///
    /// # Errors
    /// As [`mappings`](Self::mappings).
    pub fn mapped(
        &mut self,
        device: &Device,
        within: Range<Bytes>,
    ) -> Result<impl Iterator<Item = Result<Extent, MetadataError>> + use<'_, S>, MetadataError>
    {
        self.mapped_where(device, within, |_| true)
    }

    /// What of the volume was mapped at a pool time of `since` or later, `within` a range of it.
    ///
    /// With `since` the creation time of a snapshot of this volume, that is all that was written
    /// since that snapshot was made: what the snapshot shares was mapped before, and the first
    /// write after it was mapped at that very time. What was discarded since cannot be seen. The
    /// range ends where the snapshot ended: beyond, old mappings may have come back when the
    /// volume grew, so all that is [`mapped`](Self::mapped) there counts as changed.
    ///
    /// # Errors
    /// As [`mappings`](Self::mappings).
    pub fn changed_since(
        &mut self,
        device: &Device,
        since: PoolTime,
        within: Range<Bytes>,
    ) -> Result<impl Iterator<Item = Result<Extent, MetadataError>> + use<'_, S>, MetadataError>
    {
        self.mapped_where(device, within, move |mapping| mapping.time >= since)
    }

    /// What differs between two devices of this pool `within` a range, as a change from `from` to
    /// `to`. The range ends where the smaller volume ends; what is [`mapped`](Self::mapped) beyond
    /// that counts as changed.
    ///
    /// What both trees share is not read: the cost follows the change.
    ///
    /// # Errors
    /// As [`mappings`](Self::mappings).
    pub fn delta(
        &mut self,
        from: &Device,
        to: &Device,
        within: Range<Bytes>,
    ) -> Result<
        impl Iterator<Item = Result<ChangedExtent, MetadataError>> + use<'_, S>,
        MetadataError,
    > {
        let (all, size) = (self.all_chunks(), self.superblock.chunk);
        let differences = match chunks_in(&within, size) {
            None => None,
            Some(keys) => {
                let walk = Walk::begin(&mut self.fetch, from.root, Some(to.root), all, keys)?;
                Some(Differences::new(&mut self.fetch, walk))
            }
        };
        let changed = |difference: Difference| (difference.thin, difference.change());
        let differences = differences.into_iter().flatten().map(move |next| next.map(changed));
        Ok(extents(differences, size, within)
            .map(|next| next.map(|(extent, change)| ChangedExtent { extent, change })))
    }

    /// The chunks that two devices of this pool do not have at the same place, in order, with what
    /// either has there. What both trees share is not read.
    pub(crate) fn differences(
        &mut self,
        left: &Device,
        right: &Device,
    ) -> Result<Differences<'_, S>, MetadataError> {
        let all = self.all_chunks();
        let walk = Walk::begin(&mut self.fetch, left.root, Some(right.root), all, all)?;
        Ok(Differences::new(&mut self.fetch, walk))
    }

    /// The mappings of a device from the chunk `first` on.
    pub(crate) fn mappings_from(
        &mut self,
        device: &Device,
        first: u64,
    ) -> Result<impl Iterator<Item = Result<Mapping, MetadataError>> + use<'_, S>, MetadataError>
    {
        let all = self.all_chunks();
        let within = KeyRange { first: first.min(all.last), ..all };
        // A leaf in which the range begins is read from its own beginning.
        let is_within = move |mapping: &Mapping| mapping.thin.0 >= first;
        let mappings = self.mappings_within(device, within)?;
        Ok(mappings.filter(move |next| next.as_ref().map_or(true, is_within)))
    }

    /// Makes sure that what was read is still there: nobody wrote the superblock, and no metadata
    /// snapshot was released meanwhile.
    ///
    /// # Errors
    /// [`Changed`](MetadataError::Changed), or what keeps it from being read again.
    pub fn check_unchanged(&mut self) -> Result<(), MetadataError> {
        let place = self.held.unwrap_or(SUPERBLOCK);
        let still_held = match self.held {
            None => true,
            held => superblock(&mut self.fetch, SUPERBLOCK)?.0.held_root == held,
        };
        if still_held && self.fetch.read(place)? == self.as_read {
            Ok(())
        } else {
            Err(MetadataError::Changed)
        }
    }

    fn mapped_where<W: Fn(&Mapping) -> bool>(
        &mut self,
        device: &Device,
        within: Range<Bytes>,
        wanted: W,
    ) -> Result<impl Iterator<Item = Result<Extent, MetadataError>> + use<'_, S, W>, MetadataError>
    {
        let size = self.superblock.chunk;
        let mappings = match chunks_in(&within, size) {
            None => None,
            Some(keys) => Some(self.mappings_within(device, keys)?),
        };
        let chunks = mappings.into_iter().flatten().filter_map(move |mapping| match mapping {
            Ok(mapping) => wanted(&mapping).then_some(Ok((mapping.thin, ()))),
            Err(error) => Some(Err(error)),
        });
        Ok(extents(chunks, size, within).map(|next| next.map(|(extent, ())| extent)))
    }

    fn mappings_within(
        &mut self,
        device: &Device,
        within: KeyRange,
    ) -> Result<Mappings<'_, S>, MetadataError> {
        let all = self.all_chunks();
        let walk = Walk::begin(&mut self.fetch, device.root, None, all, within)?;
        Ok(Mappings::new(&mut self.fetch, walk))
    }

    /// The chunks that a volume of this pool can have at most.
    fn all_chunks(&self) -> KeyRange {
        KeyRange { first: 0, last: self.superblock.chunk.last_chunk() }
    }
}

fn superblock<S: BlockSource>(
    fetch: &mut Fetcher<S>,
    at: MetadataBlock,
) -> Result<(Superblock, Box<Block>), MetadataError> {
    let bytes = fetch.read(at)?;
    let superblock = Superblock::parse(&bytes, at).map_err(|problem| problem.at(at))?;
    Ok((superblock, bytes))
}
