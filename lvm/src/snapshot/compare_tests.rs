//! A comparison with the base finds what the mappings' times say, and no more is taken from a base
//! that is not what it was.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::chunk_list::ChunkList;
use crate::dm_thin::PoolTime;
use crate::dm_thin::tests::image::{Image, Shape, Volume, device, mix};
use crate::snapshot::map::map;

const CHUNK: u64 = 3 * 65536;
/// The pool's time when the base was made, and the snapshot.
const BASE: u32 = 5;
const SNAPSHOT: u32 = 8;

fn since(known: u64) -> Since {
    Since { time: PoolTime::new(BASE).unwrap(), known: Bytes(known) }
}

fn chunks(list: &mut ChunkList) -> BTreeSet<u64> {
    list.runs().unwrap().flat_map(Result::unwrap).collect()
}

/// The base as device 1 and the snapshot as device 2.
fn metadata(base: &Volume, now: &Volume, shape: Shape, other: Shape) -> Image {
    let mut image = Image::new(384);
    image.creation_time = SNAPSHOT;
    image.add(1, base, shape);
    image.add(2, now, other);
    image
}

fn compared(base: &Volume, now: &Volume, size: u64, known: u64) -> Compared {
    let shape = Shape { seed: 1, entries: 4, slack: false };
    let mut metadata = metadata(base, now, shape, shape).read(shape);
    let (base, now) = (device(&mut metadata, 1), device(&mut metadata, 2));
    let folder = Path::new("/nonexistent");
    compare(&mut metadata, &base, &now, Bytes(size), since(known), folder, &|| true).unwrap()
}

#[track_caller]
fn unusable(base: &Volume, now: &Volume, why: &str) {
    match compared(base, now, 100 * CHUNK, u64::MAX) {
        Compared::Unusable(found) => assert!(found.contains(why), "{found}"),
        other => panic!("{other:?}"),
    }
}

fn plain(chunks: impl IntoIterator<Item = u64>) -> Volume {
    chunks.into_iter().map(|thin| (thin, (thin, 1))).collect()
}

fn shape() -> impl Strategy<Value = Shape> {
    let shape = |(seed, entries, slack)| Shape { seed, entries, slack };
    (any::<u64>(), 1..40_u64, any::<bool>()).prop_map(shape)
}

/// A base and what became of it after writes, discards and new chunks.
fn two_volumes() -> impl Strategy<Value = (Volume, Volume)> {
    let cluster = (0..3000_u64, 1..200_u64, 0..BASE);
    let clusters = || prop::collection::vec(cluster.clone(), 0..12);
    let volume = |clusters: Vec<(u64, u64, u32)>| -> Volume {
        let chunks = clusters.into_iter().flat_map(|(start, length, time)| {
            (start..start + length).map(move |thin| (thin, (mix(thin) >> 41, time)))
        });
        chunks.collect()
    };
    (clusters(), clusters(), any::<u64>(), 0..100_u64).prop_map(
        move |(was, more, seed, percent)| {
            let (base, more) = (volume(was), volume(more));
            let mut now = base.clone();
            // What is written after the base lies elsewhere than all that is there, and is younger.
            let mut write =
                |thin: u64| now.insert(thin, (1 << 24 | thin, BASE + (thin % 3) as u32));
            for thin in base.keys().chain(more.keys()).copied() {
                if mix(thin ^ seed) % 100 < percent / 2 {
                    write(thin);
                }
            }
            now.retain(|&thin, _| mix(thin ^ !seed) % 100 >= percent / 2);
            (base, now)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_comparison_says_what_the_times_of_all_mappings_say(
        (base, now) in two_volumes(), shape in shape(), other in shape(), same in any::<bool>(),
        size in 1..3300 * CHUNK, base_size in prop::option::of(1..3300 * CHUNK),
    ) {
        let base_size = base_size.unwrap_or(size);
        let since = Since::at(PoolTime::new(BASE).unwrap(), Bytes(base_size), Bytes(size));
        let other = if same { shape } else { other };
        let mut metadata = metadata(&base, &now, shape, other).read(shape);
        let (from, to) = (device(&mut metadata, 1), device(&mut metadata, 2));
        let folder = tempfile::tempdir().unwrap();
        let (folder, size) = (folder.path(), Bytes(size));
        let walked =
            map(&mut metadata, &to, None, size, Some(Ok(since)), folder, &|| true).unwrap();
        let found = compare(&mut metadata, &from, &to, size, since, folder, &|| true);
        let found = match found.unwrap() {
            Compared::Map(map) => map,
            other => panic!("{other:?}"),
        };
        let Chunks::Walked { mut mapped, written } = walked.chunks else {
            panic!("a walk compares nothing")
        };
        let Chunks::Compared(mut found) = found.chunks else { panic!("nothing was compared") };
        let newly = chunks(&mut found.written);
        prop_assert_eq!(&newly, &chunks(&mut written.unwrap().unwrap()));

        let gone = chunks(&mut found.gone);
        let had = base.keys().copied().filter(|thin| thin * CHUNK < base_size);
        let kept = had.filter(|thin| *thin < found.below && !gone.contains(thin));
        let derived: BTreeSet<u64> = kept.chain(newly).collect();
        prop_assert_eq!(derived.len() as u64, found.chunks);
        prop_assert_eq!(derived, chunks(&mut mapped));
    }
}

#[test]
fn a_base_that_was_written_to_is_none() {
    let (base, now) = (plain(0..50), plain(0..50));
    for chunk in [7, 70] {
        let mut written = base.clone();
        written.insert(chunk, (900, BASE));
        unusable(&written, &now, &format!("chunk {chunk} was written"));
    }
    assert!(matches!(compared(&base, &now, 100 * CHUNK, u64::MAX), Compared::Map(_)));
}

#[test]
fn an_old_chunk_that_the_base_has_elsewhere_or_not_breaks_the_last_backup() {
    let (base, mut now) = (plain(0..50), plain(0..50));
    now.insert(7, (900, BASE - 1));
    let broken = |base, now, known| match compared(base, now, 100 * CHUNK, known) {
        Compared::Broken(Broken::MetadataSetBack(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(broken(&base, &now, u64::MAX).contains("chunk 7 "));
    let now = plain(0..51);
    assert!(broken(&base, &now, u64::MAX).contains("chunk 50 "));
    // Beyond the base's end nothing is known.
    assert!(matches!(compared(&base, &now, 100 * CHUNK, 50 * CHUNK), Compared::Map(_)));
}

#[test]
fn a_mapping_younger_than_the_snapshot_contradicts_it() {
    let shape = Shape { seed: 1, entries: 4, slack: false };
    let (base, mut now) = (plain(0..50), plain(0..50));
    now.insert(7, (900, SNAPSHOT));
    let mut metadata = metadata(&base, &now, shape, shape).read(shape);
    let (base, now) = (device(&mut metadata, 1), device(&mut metadata, 2));
    let folder = Path::new("/nonexistent");
    let size = Bytes(100 * CHUNK);
    let found = compare(&mut metadata, &base, &now, size, since(u64::MAX), folder, &|| true);
    assert!(matches!(found, Err(MapUnknown::Contradiction(why)) if why.contains("chunk 7 ")));
}

#[test]
fn a_count_that_does_not_add_up_is_not_built_on() {
    let shape = Shape { seed: 1, entries: 4, slack: false };
    let mut image = metadata(&plain(0..50), &plain(0..49), shape, shape);
    let root = image.root_of(2);
    image.add_root(2, root, 48);
    let mut metadata = image.read(shape);
    let (base, now) = (device(&mut metadata, 1), device(&mut metadata, 2));
    let folder = Path::new("/nonexistent");
    let size = Bytes(100 * CHUNK);
    let found = compare(&mut metadata, &base, &now, size, since(u64::MAX), folder, &|| true);
    assert!(matches!(found, Ok(Compared::Unusable(why)) if why.contains("1 went")));
}

#[test]
fn what_two_snapshots_share_is_not_read() {
    let shape = Shape { seed: 3, entries: 100, slack: false };
    let base = plain(0..100_000);
    let mut now = base.clone();
    now.insert(77_777, (200_000, BASE));
    let mut metadata = metadata(&base, &now, shape, shape).read(shape);
    let (from, to) = (device(&mut metadata, 1), device(&mut metadata, 2));
    let before = metadata.blocks_read();
    let folder = Path::new("/nonexistent");
    let size = Bytes(100_000 * CHUNK);
    compare(&mut metadata, &from, &to, size, since(u64::MAX), folder, &|| true).unwrap();
    assert!(metadata.blocks_read() - before < 24);
}
