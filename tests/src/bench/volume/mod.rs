//! The volume that is measured: an image file like a host's volume, the same for the same seed.
//!
//! It is made of units of [`UNIT_BYTES`] in a shuffled order: holes, bytes that do not compress, log
//! text that compresses like real logs, and copies of earlier units. Each unit can be made by itself.
//! Nothing here knows what it is used for.

mod log_text;
mod random;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use log_text::LogText;
pub(super) use random::Random;

/// What a volume is made of, in bytes. Large enough that tools which cut at the content find most
/// of a copied unit again.
pub const UNIT_BYTES: usize = 4 << 20;

/// What copies are aligned to, in bytes, and not better: a copy starts in the middle of its original.
const COPY_ALIGNMENT_BYTES: usize = 256 << 10;

/// The smallest volume, in bytes: one that has every kind of content.
pub const SMALLEST_BYTES: u64 = 64 << 20;

/// Fortieths of the volume: 1.1 GiB of holes, 1.1 random, 1.3 text and 0.5 copied of 4 GiB.
const SHARES: Shares = Shares { hole: 11, random: 11, text: 13, copy: 5 };

/// How much of each kind of content there is: units, or whatever else the user says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shares {
    /// Never written.
    pub hole: u64,
    /// Incompressible.
    pub random: u64,
    /// Log-like text.
    pub text: u64,
    /// The same as an earlier unit, at another offset.
    pub copy: u64,
}

impl Shares {
    /// All kinds together.
    pub fn total(self) -> u64 {
        self.hole + self.random + self.text + self.copy
    }

    /// The same shares of `units`; what does not divide is text.
    fn of(self, units: u64) -> Self {
        let part = |share| units * share / self.total();
        let [hole, random, copy] = [part(self.hole), part(self.random), part(self.copy)];
        Self { hole, random, text: units - hole - random - copy, copy }
    }

    /// Every part times `factor`.
    fn times(self, factor: u64) -> Self {
        let Self { hole, random, text, copy } = self;
        Self {
            hole: hole * factor,
            random: random * factor,
            text: text * factor,
            copy: copy * factor,
        }
    }
}

/// What a unit holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Hole,
    Random,
    Text,
    /// The bytes of an earlier random or text unit, rotated by so many bytes.
    Copy {
        of: usize,
        rotated_bytes: usize,
    },
}

/// A volume's plan; its bytes are made when they are asked for.
#[derive(Debug)]
pub struct Volume {
    seed: u64,
    units: Vec<Content>,
}

impl Volume {
    /// A volume of `size_bytes`.
    ///
    /// # Errors
    /// When the size is no multiple of [`UNIT_BYTES`] or below [`SMALLEST_BYTES`].
    pub fn new(size_bytes: u64, seed: u64) -> Result<Self> {
        ensure!(
            size_bytes.is_multiple_of(UNIT_BYTES as u64) && size_bytes >= SMALLEST_BYTES,
            "the volume's size is a multiple of 4 MiB and at least 64 MiB"
        );
        let shares = SHARES.of(size_bytes / UNIT_BYTES as u64);
        Ok(Self { seed, units: arrange(shares, &mut Random::new(seed, "order", 0)) })
    }

    /// How many bytes of each kind there are.
    pub fn shares_bytes(&self) -> Shares {
        SHARES.of(self.units.len() as u64).times(UNIT_BYTES as u64)
    }

    /// Writes the volume to a new file at `path`, with holes where nothing is.
    ///
    /// # Errors
    /// When the file cannot be made or written.
    pub fn write_to(&self, path: &Path) -> Result<()> {
        let write = || {
            let file = File::create_new(path)?;
            file.set_len((self.units.len() * UNIT_BYTES) as u64)?;
            let mut bytes = vec![0; UNIT_BYTES];
            for (index, content) in self.units.iter().enumerate() {
                if *content != Content::Hole {
                    self.fill(index, &mut bytes);
                    file.write_all_at(&bytes, (index * UNIT_BYTES) as u64)?;
                }
            }
            file.sync_all()
        };
        write().with_context(|| format!("cannot write the volume to {}", path.display()))
    }

    /// Makes the bytes of a unit; `bytes` is as long as one.
    fn fill(&self, index: usize, bytes: &mut [u8]) {
        match self.units[index] {
            Content::Hole => bytes.fill(0),
            Content::Random => Random::new(self.seed, "random", index as u64).fill(bytes),
            Content::Text => {
                LogText::new(Random::new(self.seed, "text", index as u64), index as u64)
                    .fill(bytes);
            }
            Content::Copy { of, rotated_bytes } => {
                self.fill(of, bytes);
                bytes.rotate_left(rotated_bytes);
            }
        }
    }
}

/// The units of these shares in an order drawn from `random`, with an original before its copies.
fn arrange(shares: Shares, random: &mut Random) -> Vec<Content> {
    let copy = Content::Copy { of: 0, rotated_bytes: 0 };
    let mut units = Vec::new();
    for (content, count) in [
        (Content::Hole, shares.hole),
        (Content::Random, shares.random),
        (Content::Text, shares.text),
        (copy, shares.copy),
    ] {
        units.extend((0..count).map(|_| content));
    }
    // Fisher and Yates's shuffle.
    for last in (1..units.len()).rev() {
        units.swap(last, random.below(last + 1));
    }
    let is_original = |content: &Content| matches!(content, Content::Random | Content::Text);
    let first_copy = units.iter().position(|content| *content == copy);
    let first_original = units.iter().position(is_original);
    if let (Some(copy), Some(original)) = (first_copy, first_original)
        && copy < original
    {
        units.swap(copy, original);
    }
    let mut originals = Vec::new();
    for (index, unit) in units.iter_mut().enumerate() {
        match unit {
            Content::Random | Content::Text => originals.push(index),
            Content::Copy { of, rotated_bytes } => {
                *of = originals[random.below(originals.len())];
                let steps = UNIT_BYTES / COPY_ALIGNMENT_BYTES;
                *rotated_bytes = random.below(steps) * COPY_ALIGNMENT_BYTES;
            }
            Content::Hole => {}
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_shares_are_as_said_and_fill_the_volume() {
        let volume = Volume::new(4 * GIB, 1).unwrap();
        let shares = volume.shares_bytes();
        assert_eq!(shares.total(), 4 * GIB);
        for (bytes, tenths_of_gib) in
            [(shares.hole, 11), (shares.random, 11), (shares.text, 13), (shares.copy, 5)]
        {
            assert!(bytes.abs_diff(tenths_of_gib * GIB / 10) < 2 * UNIT_BYTES as u64, "{shares:?}");
        }
        let count = |wanted: fn(&Content) -> bool| {
            volume.units.iter().filter(|unit| wanted(unit)).count() as u64 * UNIT_BYTES as u64
        };
        assert_eq!(count(|unit| *unit == Content::Hole), shares.hole);
        assert_eq!(count(|unit| *unit == Content::Text), shares.text);
        assert_eq!(count(|unit| matches!(unit, Content::Copy { .. })), shares.copy);
    }

    #[test]
    fn copies_are_of_originals_before_them_at_any_size_and_seed() {
        for seed in 0..50 {
            for size in [SMALLEST_BYTES, SMALLEST_BYTES + UNIT_BYTES as u64, GIB] {
                let volume = Volume::new(size, seed).unwrap();
                for (index, unit) in volume.units.iter().enumerate() {
                    if let Content::Copy { of, rotated_bytes } = *unit {
                        assert!(of < index, "seed {seed}");
                        assert!(matches!(volume.units[of], Content::Random | Content::Text));
                        assert!(rotated_bytes < UNIT_BYTES);
                        assert!(rotated_bytes.is_multiple_of(COPY_ALIGNMENT_BYTES));
                    }
                }
            }
        }
    }

    #[test]
    fn a_seed_gives_the_same_volume_again_and_another_one_another() {
        let bytes = |seed, index| {
            let mut bytes = vec![0; UNIT_BYTES];
            Volume::new(SMALLEST_BYTES, seed).unwrap().fill(index, &mut bytes);
            blake3::hash(&bytes)
        };
        let all = |seed| (0..16).map(|index| bytes(seed, index)).collect::<Vec<_>>();
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
    }

    #[test]
    fn the_file_has_its_holes_and_its_copies_can_be_found_by_block() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("volume");
        let volume = Volume::new(SMALLEST_BYTES, 3).unwrap();
        volume.write_to(&path).unwrap();

        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len() as u64, SMALLEST_BYTES);
        let blocks = bytes.chunks(COPY_ALIGNMENT_BYTES);
        let holes = blocks.clone().filter(|block| block.iter().all(|&byte| byte == 0)).count();
        let shares = volume.shares_bytes();
        let block_bytes = COPY_ALIGNMENT_BYTES as u64;
        assert_eq!(holes as u64 * block_bytes, shares.hole);
        let distinct: HashSet<_> = blocks.map(blake3::hash).collect();
        // The hole is one of the distinct blocks.
        assert_eq!(distinct.len() as u64 * block_bytes, shares.random + shares.text + block_bytes);
    }

    #[test]
    fn sizes_that_do_not_work_are_refused() {
        for size in [0, UNIT_BYTES as u64, SMALLEST_BYTES + 1] {
            assert!(Volume::new(size, 1).is_err(), "{size}");
        }
    }
}
