//! Comparing a target with an image, and writing some blocks of it.
#![allow(clippy::single_range_in_vec_init)]

use std::io;
use std::ops::Range;

use super::*;
use crate::stream::ranges;
use crate::stream::{BlockRuns, Comparison, Runs, is_hole};

const BLOCK: usize = BLOCK_BYTES as usize;

struct Blocks(Vec<Range<u64>>);

impl BlockRuns for Blocks {
    fn runs(&mut self) -> io::Result<Runs<'_>> {
        Ok(Box::new(self.0.iter().cloned().map(Ok)))
    }
}

impl World {
    fn target(&self, engine: &IoEngine, content: &[u8]) -> IoFile {
        open(engine, self.file("target", content))
    }

    fn target_content(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("target")).unwrap()
    }
}

/// The blocks among `blocks` that differ, and how many bytes were read for that.
fn differing(
    image: &thinmover_repository::Image,
    target: &IoFile,
    blocks: Vec<Range<u64>>,
) -> (Vec<u64>, u64) {
    let runs: Vec<ranges::Item> = blocks.into_iter().map(Ok).collect();
    let mut comparison = Comparison::new(image, target, Box::new(runs.into_iter()), &LIMITS);
    let (progress, cancel) = (Progress::default(), Cancel::default());
    let mut found = Vec::new();
    while let Some(batch) = comparison.next_batch(&progress, &cancel).unwrap() {
        found.extend(batch);
    }
    assert_eq!(progress.done_bytes(), comparison.read_bytes());
    (found, comparison.read_bytes())
}

#[test]
fn every_block_that_differs_is_found_whatever_the_engine_and_no_other_is() {
    for engine in engines() {
        let world = World::new();
        // The image ends within block 37, the target two blocks and a bit later.
        let before = content(11, 37 * BLOCK + 1000);
        let manifest = world.back_up(&engine, &before);
        let image = world.repository.image(&manifest, ReadLimits::default()).unwrap();
        let mut there = before;
        there.resize(39 * BLOCK + 512, 0);
        let blocks = there.len().div_ceil(BLOCK) as u64;
        let all = vec![0..blocks];
        let compare =
            |there: &[u8], blocks| differing(&image, &world.target(&engine, there), blocks);
        assert_eq!(compare(&there, all.clone()), (vec![], there.len() as u64));
        // The first and the last byte of a block, of the image's tail, behind it, and of the target.
        let places = [0, BLOCK, 6 * BLOCK - 1, 37 * BLOCK + 999, 38 * BLOCK + 1, 39 * BLOCK + 511];
        for at in places {
            there[at] ^= 1;
        }
        assert_eq!(compare(&there, all).0, [0, 1, 5, 37, 38, 39], "{engine:?}");
        // Only what is asked for is looked at.
        let some = vec![1..3, 5..6, 38..40];
        let read = 4 * BLOCK as u64 + 512;
        assert_eq!(compare(&there, some), (vec![1, 5, 38, 39], read), "{engine:?}");
        assert_eq!(compare(&there, vec![]), (vec![], 0));
        // Just behind the image, within its last block.
        there[37 * BLOCK + 999] ^= 1;
        there[37 * BLOCK + 1000] ^= 1;
        assert_eq!(compare(&there, vec![37..38]).0, [37]);
    }
}

#[test]
fn only_the_blocks_that_are_named_are_written() {
    let (world, engine) = (World::new(), IoEngine::default());
    let before = content(12, 37 * BLOCK + 1000);
    let manifest = world.back_up(&engine, &before);
    let image = world.repository.image(&manifest, ReadLimits::default()).unwrap();
    let size = 39 * BLOCK + 512;
    let mut expected = vec![9; size];
    let target = world.target(&engine, &expected);
    let mut only = Blocks(vec![0..2, 7..9, 30..32, 37..38, 39..40]);
    let job =
        Download { image: &image, target: &target, blank: false, unseen: false, stale: false };
    let (progress, cancel) = (Progress::default(), Cancel::default());
    super::super::download(&job, Some(&mut only), &LIMITS, &progress, &cancel).unwrap();
    let mut whole = before;
    whole.resize(size, 0);
    for block in only.0.into_iter().flatten() {
        let start = usize::try_from(block).unwrap() * BLOCK;
        let end = (start + BLOCK).min(size);
        expected[start..end].copy_from_slice(&whole[start..end]);
    }
    assert!(world.target_content() == expected);
}

#[test]
fn a_target_that_nobody_sees_is_written_at_once() {
    let (world, engine) = (World::new(), IoEngine::default());
    let before = content(13, 9 * BLOCK + 7);
    let manifest = world.back_up(&engine, &before);
    let image = world.repository.image(&manifest, ReadLimits::default()).unwrap();
    let target = world.target(&engine, &vec![0; before.len()]);
    let job = Download { image: &image, target: &target, blank: true, unseen: true, stale: false };
    let (progress, cancel) = (Progress::default(), Cancel::default());
    super::super::download(&job, None, &LIMITS, &progress, &cancel).unwrap();
    assert!(world.target_content() == before);
    assert_eq!(progress.done_bytes(), before.len() as u64);
}

#[test]
fn old_bytes_that_come_to_light_beside_what_is_written_are_cleared() {
    let (world, engine) = (World::new(), IoEngine::default());
    let before = content(14, 21 * BLOCK);
    assert!(before.chunks(BLOCK).any(is_hole));
    let manifest = world.back_up(&engine, &before);
    let image = world.repository.image(&manifest, ReadLimits::default()).unwrap();
    // It was blank when it was looked at.
    let target = world.target(&engine, &vec![9; 25 * BLOCK]);
    let job = Download { image: &image, target: &target, blank: true, unseen: false, stale: true };
    let (progress, cancel) = (Progress::default(), Cancel::default());
    super::super::download(&job, None, &LIMITS, &progress, &cancel).unwrap();
    let after = world.target_content();
    assert!(after[..before.len()] == before);
    assert!(is_hole(&after[before.len()..]));
}

#[test]
fn a_first_block_that_cannot_be_opened_is_found_before_anything_is_written() {
    let (world, engine) = (World::new(), IoEngine::default());
    let manifest = world.back_up(&engine, &vec![7; 3 * BLOCK]);
    let image = world.repository.image(&manifest, ReadLimits::default()).unwrap();
    for folder in ["pack", "index"] {
        let pattern = world.folder.path().join("repository/domain");
        for domain in std::fs::read_dir(pattern).unwrap() {
            let objects = std::fs::read_dir(domain.unwrap().path().join(folder));
            for object in objects.into_iter().flatten() {
                let path = object.unwrap().path();
                let mut bytes = std::fs::read(&path).unwrap();
                // The first blob's seal.
                bytes[70] ^= 1;
                std::fs::write(&path, bytes).unwrap();
            }
        }
    }
    let target = world.target(&engine, &vec![9; 3 * BLOCK]);
    let job =
        Download { image: &image, target: &target, blank: false, unseen: false, stale: false };
    let (progress, cancel) = (Progress::default(), Cancel::default());
    let error = super::super::download(&job, None, &LIMITS, &progress, &cancel).unwrap_err();
    assert!(matches!(error, StreamError::Block { offset: 0, .. }), "{error}");
    assert!(world.target_content() == vec![9; 3 * BLOCK]);
}

#[test]
fn a_run_of_blocks_that_cannot_be_had_ends_a_comparison() {
    let (world, engine) = (World::new(), IoEngine::default());
    let manifest = world.back_up(&engine, &vec![7; 3 * BLOCK]);
    let image = world.repository.image(&manifest, ReadLimits::default()).unwrap();
    let target = world.target(&engine, &vec![7; 3 * BLOCK]);
    let lost = [Ok(0..1), Err(io::ErrorKind::UnexpectedEof.into())];
    let mut comparison = Comparison::new(&image, &target, Box::new(lost.into_iter()), &LIMITS);
    let error = comparison.next_batch(&Progress::default(), &Cancel::default()).unwrap_err();
    assert!(matches!(error, StreamError::Plan(_)), "{error}");
}
