//! The image tree that an upload makes: of all its blocks, or of a base and what changed.

use std::ops::Range;

use thinmover_repository::{
    BasedImage, Error as RepositoryError, Id, Image, ImageBuilder, ImageRoot, Upload,
};

/// Takes blocks in ascending order. What is left out is holes, or what the base has there.
pub(super) enum Tree<'u> {
    New { builder: ImageBuilder<'u>, next_block: u64, blocks: u64 },
    Based(Box<BasedImage<'u>>),
}

impl<'u> Tree<'u> {
    pub(super) fn begin(
        upload: &'u Upload,
        base: Option<&'u Image>,
        size_bytes: u64,
        block_bytes: u32,
    ) -> Result<Self, RepositoryError> {
        Ok(match base {
            Some(base) => Self::Based(Box::new(upload.based_image(base, size_bytes)?)),
            None => Self::New {
                builder: upload.image_builder(size_bytes, block_bytes)?,
                next_block: 0,
                blocks: size_bytes.div_ceil(u64::from(block_bytes)),
            },
        })
    }

    pub(super) fn put(&mut self, first_block: u64, ids: &[Id]) -> Result<(), RepositoryError> {
        match self {
            Self::Based(image) => {
                (first_block..).zip(ids).try_for_each(|(block, id)| image.set(block, *id))
            }
            Self::New { builder, next_block, .. } => {
                builder.push_holes(first_block - *next_block)?;
                *next_block = first_block + ids.len() as u64;
                ids.iter().try_for_each(|id| builder.push(*id))
            }
        }
    }

    pub(super) fn put_holes(&mut self, blocks: Range<u64>) -> Result<(), RepositoryError> {
        match self {
            Self::Based(image) => image.set_holes(blocks),
            // They are left out.
            Self::New { .. } => Ok(()),
        }
    }

    pub(super) fn finish(self) -> Result<ImageRoot, RepositoryError> {
        match self {
            Self::Based(image) => image.finish(),
            Self::New { mut builder, next_block, blocks } => {
                builder.push_holes(blocks - next_block)?;
                builder.finish()
            }
        }
    }
}
