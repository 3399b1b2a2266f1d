//! The trees that an upload stores: of its image, and of its list of mapped chunks.

use std::cell::RefCell;
use std::collections::HashSet;

use super::session::Upload;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::image::{BasedImage, ImageBuilder, ImageRoot, for_each_id};
use crate::mapped::{MappedListBuilder, MappedRoot};
use crate::restore::Image;

impl Upload {
    /// Begins the tree of an image of `total_bytes` in blocks of `block_bytes`.
    ///
    /// # Errors
    /// `InvalidInput` for sizes outside the format's bounds.
    pub fn image_builder(&self, total_bytes: u64, block_bytes: u32) -> Result<ImageBuilder<'_>> {
        let image = ImageRoot::new(Id::HOLE, total_bytes, block_bytes)?;
        Ok(ImageBuilder::new(self.packer()?, image))
    }

    /// Begins the tree of an image of `total_bytes` that shares with another backup's all blocks
    /// which are not given anew. The block size is the base's.
    ///
    /// # Errors
    /// `InvalidInput` for a base of another upload and for a size outside the format's bounds,
    /// `BaseUnusable` if its root cannot be read.
    pub fn based_image<'u>(&'u self, base: &'u Image, total_bytes: u64) -> Result<BasedImage<'u>> {
        if base.upload() != Some(self.session()) {
            return Err(Error::InvalidInput("the base was not opened by this upload".to_owned()));
        }
        let unusable = |cause| Error::BaseUnusable {
            base: base.location().session.to_string(),
            cause: Box::new(cause),
        };
        let mut known = HashSet::new();
        if let Some(list) = base.mapped() {
            let ids = RefCell::new(&mut known);
            let add = |id| ids.borrow_mut().insert(id);
            let mut block = |id| {
                add(id);
                Ok(())
            };
            for_each_id(base, list.bitmap(), &mut |id| Ok(add(id)), &mut block)
                .map_err(unusable)?;
        }
        self.know_early(known);
        let base_id = base.location().session.to_string();
        BasedImage::new(base, base.root(), base_id, self.packer()?, total_bytes)
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
