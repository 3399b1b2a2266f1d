//! What is read is what was written, in bounded memory, or an error.

#![allow(clippy::single_range_in_vec_init, reason = "lists of runs, some of them of one")]

use std::ops::Range;

use proptest::prelude::*;

use super::{BLOCK_CHUNKS, MappedChunks, MappedListBuilder, MappedRoot};
use crate::error::{Error, Result};
use crate::id::{BlobKind, Id};
use crate::image::{BlobSink, ImageRoot, ImageWalk, MemoryBlobs, TreeKind};

const CHUNK_BYTES: u32 = 192 << 10;

fn empty(chunks: u64) -> MappedRoot {
    MappedRoot::new(Id::HOLE, CHUNK_BYTES, chunks * u64::from(CHUNK_BYTES)).unwrap()
}

fn store(blobs: &MemoryBlobs, chunks: u64, runs: &[Range<u64>]) -> MappedRoot {
    let mut builder = MappedListBuilder::new(blobs, empty(chunks));
    runs.iter().for_each(|run| builder.push(run.clone()).unwrap());
    builder.finish().unwrap()
}

fn read(blobs: &MemoryBlobs, list: MappedRoot) -> Result<Vec<Range<u64>>> {
    MappedChunks::new(blobs, list).collect()
}

/// Runs that touch become one; empty ones are none.
fn joined(runs: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::new();
    for run in runs.iter().filter(|run| !run.is_empty()) {
        match joined.last_mut() {
            Some(last) if last.end == run.start => last.end = run.end,
            _ => joined.push(run.clone()),
        }
    }
    joined
}

/// Gaps and lengths from single chunks to several blocks of the bitmap.
fn runs() -> impl Strategy<Value = Vec<Range<u64>>> {
    let length = || {
        prop_oneof![
            4 => 0..4u64,
            2 => 50..70u64,
            1 => 0..3_000u64,
            1 => BLOCK_CHUNKS - 2..BLOCK_CHUNKS + 2,
            1 => 0..4 * BLOCK_CHUNKS,
        ]
    };
    proptest::collection::vec((length(), length()), 0..60).prop_map(|pairs| {
        let mut at = 0;
        let run = |(gap, length): (u64, u64)| {
            let start = at + gap;
            at = start + length;
            start..at
        };
        pairs.into_iter().map(run).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn the_runs_that_are_read_are_those_that_were_pushed(
        runs in runs(), rest in prop_oneof![0..9u64, 0..3 * BLOCK_CHUNKS],
    ) {
        let chunks = runs.last().map_or(0, |run| run.end) + rest;
        let blobs = MemoryBlobs::default();
        let list = store(&blobs, chunks, &runs);
        prop_assert_eq!(list.chunks(), chunks);
        prop_assert_eq!(read(&blobs, list).unwrap(), joined(&runs));
        // One list has one tree, however its runs were cut.
        let cut: Vec<_> = joined(&runs)
            .into_iter()
            .flat_map(|run| {
                let middle = run.start + (run.end - run.start) / 3;
                [run.start..middle, middle..run.end]
            })
            .collect();
        prop_assert_eq!(store(&blobs, chunks, &cut), list);
    }
}

#[test]
fn a_list_of_nothing_stores_nothing_and_one_of_everything_little() {
    let blobs = MemoryBlobs::default();
    for chunks in [0, 1, BLOCK_CHUNKS, 1 << 34] {
        assert!(store(&blobs, chunks, &[]).id().is_hole());
    }
    assert!(blobs.ids().is_empty());
    let all = store(&blobs, 100 * BLOCK_CHUNKS, &[0..100 * BLOCK_CHUNKS]);
    assert_eq!(blobs.ids().len(), 2, "one block that stands everywhere, and the root");
    assert_eq!(read(&blobs, all).unwrap(), [0..100 * BLOCK_CHUNKS]);
}

#[test]
fn a_change_of_the_list_stores_its_block_and_the_nodes_above() {
    let blobs = MemoryBlobs::default();
    // Every block of its own.
    let mut runs: Vec<_> = (0..300).map(|n| n * BLOCK_CHUNKS..n * BLOCK_CHUNKS + n + 1).collect();
    store(&blobs, 300 * BLOCK_CHUNKS, &runs);
    let known = blobs.ids();
    runs[200].end += 1000;
    store(&blobs, 300 * BLOCK_CHUNKS, &runs);
    assert_eq!(blobs.ids().difference(&known).count(), 3);
}

#[test]
fn chunks_out_of_order_or_behind_the_volume_are_refused() {
    let blobs = MemoryBlobs::default();
    let mut builder = MappedListBuilder::new(&blobs, empty(100));
    builder.push(5..10).unwrap();
    #[allow(clippy::reversed_empty_ranges, reason = "it is what is refused")]
    for run in [9..11, 0..1, 10..101, 20..19, 101..101, u64::MAX - 1..u64::MAX] {
        let error = builder.push(run).unwrap_err();
        assert!(matches!(error, Error::InvalidInput(_)), "{error}");
    }
    builder.push(10..100).unwrap();
    assert_eq!(read(&blobs, builder.finish().unwrap()).unwrap(), [5..100]);
}

#[test]
fn a_long_list_is_read_a_little_at_a_time() {
    let blobs = MemoryBlobs::default();
    let runs: Vec<_> = (0..200).map(|n| n * BLOCK_CHUNKS + 7..n * BLOCK_CHUNKS + 8 + n).collect();
    let list = store(&blobs, 200 * BLOCK_CHUNKS, &runs);
    let mut chunks = MappedChunks::new(&blobs, list);
    assert_eq!(chunks.next().unwrap().unwrap(), runs[0]);
    let read_first = blobs.take_read().len();
    assert_eq!(chunks.count(), 199);
    assert!(read_first < 20, "{read_first} blobs for the first run");
    assert!(blobs.most_bytes_read() <= 1 << 20);
}

#[test]
fn every_blob_that_is_missing_or_another_is_found() {
    let blobs = MemoryBlobs::default();
    let runs: Vec<_> = (0..200).map(|n| n * BLOCK_CHUNKS..n * BLOCK_CHUNKS + 1 + n).collect();
    let list = store(&blobs, 200 * BLOCK_CHUNKS, &runs);
    let ids = blobs.ids();
    assert!(ids.len() > 200);
    for id in ids {
        let damaged = MemoryBlobs::default();
        store(&damaged, 200 * BLOCK_CHUNKS, &runs);
        damaged.remove(&id);
        let mut chunks = MappedChunks::new(&damaged, list);
        assert!(chunks.any(|run| run.is_err()), "{id}");
        assert!(chunks.next().is_none(), "nothing follows an error");
    }
}

#[test]
fn a_list_that_does_not_fit_its_volume_is_found() {
    let blobs = MemoryBlobs::default();
    for (stored, claimed) in [
        // Bits behind the last chunk, in the last byte and in the block; a block too long or short.
        (100, 99),
        (BLOCK_CHUNKS, BLOCK_CHUNKS - 1),
        (BLOCK_CHUNKS + 100, BLOCK_CHUNKS + 40),
        (BLOCK_CHUNKS + 100, BLOCK_CHUNKS + 400),
        (2 * BLOCK_CHUNKS, BLOCK_CHUNKS),
    ] {
        let id = store(&blobs, stored, &[0..1, stored - 1..stored]).id();
        let list = MappedRoot::new(id, CHUNK_BYTES, claimed * u64::from(CHUNK_BYTES)).unwrap();
        let error = read(&blobs, list).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{stored} as {claimed}: {error}");
    }
}

#[test]
fn neither_an_image_nor_its_blocks_pass_for_a_list() {
    let blobs = MemoryBlobs::default();
    let bits = vec![1; 64 << 10];
    let data = (&blobs).store_blob(BlobKind::Data, &bits).unwrap();
    let image = ImageRoot::new(Id::HOLE, 64 << 10, 64 << 10).unwrap();
    for image in [image, image.of_kind(TreeKind::Mapped)] {
        let mut tree = crate::image::ImageBuilder::new(&blobs, image);
        tree.push(data).unwrap();
        let id = tree.finish().unwrap().id();
        let volume_bytes = BLOCK_CHUNKS * u64::from(CHUNK_BYTES);
        let list = MappedRoot::new(id, CHUNK_BYTES, volume_bytes).unwrap();
        assert!(read(&blobs, list).is_err());
    }
    let list = store(&blobs, BLOCK_CHUNKS, &[0..5]);
    let as_image = ImageRoot::new(list.id(), 64 << 10, 64 << 10).unwrap();
    assert!(ImageWalk::new(&blobs, as_image).next_window(1).is_err());
}
