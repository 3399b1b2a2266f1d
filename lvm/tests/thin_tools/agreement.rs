//! The same file, read by both.

use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use thinmover_io::{ALIGNMENT, EngineKind, Faults, IoEngine};
use thinmover_lvm::dm_thin;

use crate::pool::{Chance, Pool};
use crate::{ours, tools};

/// Files of a short run; a long one has as many times more as `THINMOVER_TEST_ROUNDS` says.
const ROUNDS: u64 = 60;

fn rounds() -> u64 {
    let factor = std::env::var("THINMOVER_TEST_ROUNDS").ok().and_then(|text| text.parse().ok());
    ROUNDS * factor.unwrap_or(1)
}

/// Each engine in turn, where the kernel has them, and one that delays, shortens and reorders.
fn engine(round: u64) -> IoEngine {
    match round % 3 {
        0 => IoEngine::new(Some(EngineKind::IoUring)).unwrap_or_default(),
        1 => IoEngine::new(Some(EngineKind::Blocking)).unwrap_or_default(),
        _ => IoEngine::faulty(Faults {
            seed: round,
            delay: Duration::from_micros(20),
            longest_transfer: 5 * ALIGNMENT,
            failing: 0..0,
            errno: Errno::EIO,
            refuses_direct: false,
        }),
    }
}

fn compare_once(folder: &Path, seed: u64) {
    let wanted = Pool::by_chance(seed);
    let file = tools::restore(&wanted, folder, "metadata");
    let mut metadata = dm_thin::open(&file, &engine(seed)).unwrap();
    let theirs = tools::dump(&file, &[]);
    let ours = ours::dump(&mut metadata);
    assert_eq!(theirs, wanted, "thin_dump and what thin_restore was given, seed {seed}");
    assert!(ours == theirs, "thin_dump found something else, seed {seed}");
    let ids: Vec<u32> = wanted.devices.keys().copied().collect();
    let mut chance = Chance(seed);
    for _ in 0..3 {
        let mut any = || ids[chance.below(ids.len() as u64) as usize];
        let (from, to) = (any(), any());
        // It refuses to compare a device with itself.
        if from != to {
            let theirs = tools::delta(&file, &[], from, to);
            let ours = ours::delta(&mut metadata, from, to);
            assert!(ours == theirs, "thin_delta {from} {to} found something else, seed {seed}");
        }
    }
    metadata.check_unchanged().unwrap();
}

#[test]
fn dump_and_delta_of_random_pools_equal_those_of_the_tools() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for seed in 0..rounds() {
        compare_once(folder.path(), seed);
    }
}

#[test]
fn a_change_while_it_is_read_is_noticed() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut pool = Pool::by_chance(1);
    let file = tools::restore(&pool, folder.path(), "metadata");
    let mut metadata = dm_thin::open(&file, &engine(0)).unwrap();
    metadata.check_unchanged().unwrap();
    pool.transaction += 1;
    tools::restore(&pool, folder.path(), "other");
    let other = std::fs::read(folder.path().join("other")).unwrap();
    // In place: the same file that is open.
    std::os::unix::fs::FileExt::write_all_at(
        &std::fs::File::options().write(true).open(&file).unwrap(),
        &other,
        0,
    )
    .unwrap();
    let error = metadata.check_unchanged().unwrap_err();
    assert_eq!(error.to_string(), "the metadata changed while it was read");
}
