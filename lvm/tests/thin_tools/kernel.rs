//! Metadata that a real kernel wrote, of two snapshots that share most of their nodes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use thinmover_io::IoEngine;
use thinmover_lvm::Bytes;
use thinmover_lvm::dm_thin::{self, Change, FileBlocks, MetadataBlock, ThinMetadata};

use crate::tools::Differences;
use crate::{ours, tools};

/// The devices, see `tests/fixtures/shared-trees`: the volume and its two snapshots.
const VOLUME: u32 = 0;
const FIRST: u32 = 1;
const SECOND: u32 = 2;

/// What `tests/fixtures/shared-trees` made, in a file in `folder`.
fn shared_trees(folder: &Path) -> PathBuf {
    let packed = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/dm-thin/shared-trees.zst");
    let differences = zstd::decode_all(fs::File::open(packed).unwrap()).unwrap();
    let (differences, _) = differences.as_chunks::<8>();
    let mut last = 0_u64;
    let words = differences.iter().flat_map(|difference| {
        last = last.wrapping_add(u64::from_le_bytes(*difference));
        last.to_le_bytes()
    });
    let file = folder.join("metadata");
    fs::write(&file, words.collect::<Vec<u8>>()).unwrap();
    file
}

/// Chunk → chunk of the pool.
fn mapped(metadata: &mut ThinMetadata<FileBlocks>, id: u32) -> BTreeMap<u64, u64> {
    let device = ours::device(metadata, id);
    let mappings = metadata.mappings(&device).unwrap().map(Result::unwrap);
    mappings.map(|mapping| (mapping.thin.0, mapping.data.0)).collect()
}

#[test]
fn snapshots_that_share_their_nodes_are_compared_without_reading_those() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = shared_trees(folder.path());
    let mut metadata = dm_thin::open(&file, &IoEngine::default()).unwrap();
    assert_ne!(metadata.held_root(), None);

    let (before, after) = (mapped(&mut metadata, FIRST), mapped(&mut metadata, SECOND));
    let to_read_both = metadata.blocks_read();
    let delta = ours::delta(&mut metadata, FIRST, SECOND);
    let to_compare = metadata.blocks_read() - to_read_both;
    // About 1,000 leaves of each, and what leads to them.
    assert!(to_read_both > 20_000, "{to_read_both} nodes");
    assert!((2_000..3_000).contains(&to_compare), "{to_compare} of {to_read_both} nodes");

    let written = after.iter().filter(|&(chunk, data)| before.get(chunk) != Some(data));
    let vanished = before.keys().filter(|chunk| !after.contains_key(chunk));
    let vanished = || vanished.clone().map(|&chunk| (chunk, Change::Discarded));
    let compared: Differences =
        written.map(|(&chunk, _)| (chunk, Change::Written)).chain(vanished()).collect();
    assert!(delta == compared, "a comparison of all mappings finds something else");

    let (base, second) = (ours::device(&mut metadata, FIRST), ours::device(&mut metadata, SECOND));
    let size = metadata.superblock().chunk.bytes().0;
    let mut young = Differences::new();
    let everything = Bytes(0)..Bytes(u64::MAX);
    for extent in metadata.changed_since(&second, base.creation_time, everything).unwrap() {
        let extent = extent.unwrap();
        let chunks = extent.offset.0 / size..(extent.offset.0 + extent.length.0) / size;
        young.extend(chunks.map(|chunk| (chunk, Change::Written)));
    }
    young.extend(vanished());
    assert!(delta == young, "the times of the mappings tell something else");
    metadata.check_unchanged().unwrap();
}

#[test]
fn dump_and_delta_of_a_metadata_snapshot_equal_those_of_the_tools() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = shared_trees(folder.path());
    let mut metadata = dm_thin::open(&file, &IoEngine::default()).unwrap();
    for id in [VOLUME, FIRST, SECOND] {
        let theirs = tools::dump(&file, &["-m", "--dev-id", &id.to_string()]);
        assert!(ours::dump_one(&mut metadata, id) == theirs, "thin_dump found something else");
    }
    for (from, to) in [(FIRST, SECOND), (SECOND, FIRST), (SECOND, VOLUME), (VOLUME, FIRST)] {
        let theirs = tools::delta(&file, &["-m"], from, to);
        let ours = ours::delta(&mut metadata, from, to);
        assert!(ours == theirs, "thin_delta {from} {to} found something else");
    }
}

#[test]
fn the_pools_own_superblock_is_not_what_is_read_beside_a_metadata_snapshot() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = shared_trees(folder.path());
    let mut metadata = dm_thin::open(&file, &IoEngine::default()).unwrap();
    let held = ours::dump_one(&mut metadata, VOLUME);
    let pools_own = tools::dump(&file, &["--dev-id", &VOLUME.to_string()]);
    assert!(held.devices != pools_own.devices, "the volume was written after the hold");
    assert!(metadata.held_root() > Some(MetadataBlock(0)));
}
