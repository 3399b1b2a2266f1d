//! The road's steps over one block, each by itself, so that a host can be told what it can do. They
//! are the very calls an upload or a restore makes; only the clock is the caller's.

use std::fmt;

use crate::container::Segment;
use crate::crypto::{DomainKeys, Encryption, RepositoryKeys, Secret};
use crate::error::{Error, Result};
use crate::id::{BlobKind, Id};
use crate::names::{ContainerId, DomainId};

type Run = dyn FnMut(&[u8]) -> Result<Done>;

/// One step with the blocks it goes through, again and again.
pub struct Step {
    blocks: Vec<Vec<u8>>,
    next: usize,
    run: Box<Run>,
}

/// What a step made of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Length of the block's plaintext in bytes.
    pub plain_bytes: usize,
    /// Length of what was made of it, or of what it was made from, in bytes.
    pub stored_bytes: usize,
}

impl Step {
    /// Computing the id of a block.
    pub fn hashing(blocks: Vec<Vec<u8>>) -> Self {
        let keys = keys(Encryption::default());
        Self::new(blocks, move |block| {
            std::hint::black_box(keys.blob_id(BlobKind::Data, block));
            Ok(Done { plain_bytes: block.len(), stored_bytes: block.len() })
        })
    }

    /// Sealing a block as it is.
    ///
    /// # Errors
    /// `Internal` where the cipher does not start.
    pub fn encryption(encryption: Encryption, blocks: Vec<Vec<u8>>) -> Result<Self> {
        let key = keys(encryption).container_key(ContainerId([0; 32]))?;
        let (mut buffer, mut nonce) = (Vec::new(), 0);
        Ok(Self::new(blocks, move |block| {
            // Sealed in place, as in a pack; what is sealed does not matter.
            buffer.resize(block.len(), 0);
            nonce += 1;
            let tag = key.seal(nonce, &[], &mut buffer)?;
            Ok(Done { plain_bytes: block.len(), stored_bytes: block.len() + tag.len() })
        }))
    }

    /// Compressing a block, at zstd's `level`.
    ///
    /// # Errors
    /// `Internal` where zstd does not start.
    pub fn compression(level: i32, blocks: Vec<Vec<u8>>) -> Result<Self> {
        let mut compressor = zstd::bulk::Compressor::new(level).map_err(|_| zstd_failed())?;
        let mut segment = Segment::default();
        Ok(Self::new(blocks, move |block| {
            segment.clear();
            let kind = BlobKind::Data.byte();
            let stored_bytes = segment.push(&mut compressor, kind, Id::HOLE, block)?;
            Ok(Done { plain_bytes: block.len(), stored_bytes: stored_bytes as usize })
        }))
    }

    /// Decompressing what [`compression`](Self::compression) makes of the blocks.
    ///
    /// # Errors
    /// `Internal` where zstd does not start.
    pub fn decompression(level: i32, blocks: &[Vec<u8>]) -> Result<Self> {
        let longest = blocks.iter().map(Vec::len).max().unwrap_or(0);
        let mut compressor = zstd::bulk::Compressor::new(level).map_err(|_| zstd_failed())?;
        let compressed = blocks.iter().map(|block| compressor.compress(block));
        let compressed = compressed.collect::<std::io::Result<_>>().map_err(|_| zstd_failed())?;
        let mut decompressor = zstd::bulk::Decompressor::new().map_err(|_| zstd_failed())?;
        let mut plain = vec![0; longest];
        Ok(Self::new(compressed, move |block| {
            let plain_bytes = decompressor
                .decompress_to_buffer(block, plain.as_mut_slice())
                .map_err(|_| zstd_failed())?;
            Ok(Done { plain_bytes, stored_bytes: block.len() })
        }))
    }

    fn new(blocks: Vec<Vec<u8>>, run: impl FnMut(&[u8]) -> Result<Done> + 'static) -> Self {
        Self { blocks, next: 0, run: Box::new(run) }
    }

    /// Does the next block.
    ///
    /// # Errors
    /// `Internal` where a library fails, or without any blocks.
    pub fn run(&mut self) -> Result<Done> {
        let block = self.blocks.get(self.next).ok_or(Error::Internal("measuring no blocks"))?;
        self.next = (self.next + 1) % self.blocks.len();
        (self.run)(block)
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step").field("blocks", &self.blocks.len()).finish_non_exhaustive()
    }
}

fn keys(encryption: Encryption) -> DomainKeys {
    let keys = RepositoryKeys::new(Secret::new([0; 32]));
    keys.domain(DomainId([0; 16]), [0; 16], encryption)
}

fn zstd_failed() -> Error {
    Error::Internal("measuring zstd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_goes_through_its_blocks_and_says_what_it_made() {
        let blocks = vec![vec![7; 4096], (0..=255).cycle().take(1000).collect()];
        let encryption = Encryption::default();
        for (mut step, stored) in [
            (Step::hashing(blocks.clone()), 4096..=4096),
            (Step::encryption(encryption, blocks.clone()).unwrap(), 4112..=4112),
            (Step::compression(1, blocks.clone()).unwrap(), 1..=100),
            (Step::decompression(1, &blocks).unwrap(), 1..=100),
        ] {
            for _ in 0..2 {
                let done = step.run().unwrap();
                assert_eq!(done.plain_bytes, 4096);
                assert!(stored.contains(&done.stored_bytes), "{done:?}");
                assert_eq!(step.run().unwrap().plain_bytes, 1000);
            }
        }
        assert!(Step::hashing(Vec::new()).run().is_err());
    }
}
