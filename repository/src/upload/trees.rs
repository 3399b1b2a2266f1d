//! The trees that an upload stores: of its image, and of its list of mapped chunks.

use super::session::Upload;
use crate::error::Result;
use crate::id::Id;
use crate::image::{ImageBuilder, ImageRoot};
use crate::mapped::{MappedListBuilder, MappedRoot};

impl Upload {
    /// Begins the tree of an image of `total_bytes` in blocks of `block_bytes`.
    ///
    /// # Errors
    /// `InvalidInput` for sizes outside the format's bounds.
    pub fn image_builder(&self, total_bytes: u64, block_bytes: u32) -> Result<ImageBuilder<'_>> {
        let image = ImageRoot::new(Id::HOLE, total_bytes, block_bytes)?;
        Ok(ImageBuilder::new(self.packer()?, image))
    }

    /// Begins the list of mapped chunks of a volume of `volume_bytes` in a pool whose chunks have
    /// `chunk_bytes`. The volume is the image's: `commit` compares their sizes.
    ///
    /// # Errors
    /// `InvalidInput` for sizes outside dm-thin's bounds.
    pub fn mapped_list_builder(
        &self,
        chunk_bytes: u32,
        volume_bytes: u64,
    ) -> Result<MappedListBuilder<'_>> {
        let list = MappedRoot::new(Id::HOLE, chunk_bytes, volume_bytes)?;
        Ok(MappedListBuilder::new(self.packer()?, list))
    }
}
