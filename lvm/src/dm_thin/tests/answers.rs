//! What is read is what was put in, whatever the shape of the trees.

use std::ops::Range;

use proptest::prelude::*;

use super::super::fuzzing::compare;
use super::super::{ChangedExtent, Extent, Mapping, PoolTime, ThinBlock};
use super::image::{Image, Shape, Volume, device, mix};
use crate::units::Bytes;

const CHUNK: u64 = 3 * 65536;

fn shape() -> impl Strategy<Value = Shape> {
    (any::<u64>(), 1..40_u64, any::<bool>()).prop_map(|(seed, entries, slack)| Shape {
        seed,
        entries,
        slack,
    })
}

/// Chunks in clusters and alone, near zero and far away.
fn volume() -> impl Strategy<Value = Volume> {
    let cluster = (0..3000_u64, 1..200_u64, 0..5_u32, any::<bool>());
    prop::collection::vec(cluster, 0..20).prop_map(|clusters| {
        let mut volume = Volume::new();
        for (start, length, time, is_far) in clusters {
            let start = if is_far { start << 30 } else { start };
            for thin in start..start + length {
                volume.insert(thin, (mix(thin) >> 40, time));
            }
        }
        volume
    })
}

/// A volume and what became of it: some chunks mapped anew in the same place, gone, elsewhere or new.
fn two_volumes() -> impl Strategy<Value = (Volume, Volume)> {
    (volume(), volume(), any::<u64>(), 0..100_u64).prop_map(|(left, other, seed, percent)| {
        let mut right = left.clone();
        for &thin in left.keys() {
            match mix(thin ^ seed) % 100 {
                roll if roll < percent / 2 => drop(right.remove(&thin)),
                roll if roll < percent => drop(right.insert(thin, (thin, 4))),
                _ => {}
            }
        }
        let new = other.into_iter().filter(|(thin, _)| mix(thin ^ !seed) % 100 < percent);
        right.extend(new);
        (left, right)
    })
}

fn mapping(thin: u64, time: u32) -> (ThinBlock, PoolTime) {
    (ThinBlock(thin), PoolTime::new(time).unwrap())
}

fn plain(volume: &Volume) -> Vec<Mapping> {
    let one = |(&thin, &(data, time)): (&u64, &(u64, u32))| {
        let (thin, time) = mapping(thin, time);
        Mapping { thin, data: super::super::DataBlock(data), time }
    };
    volume.iter().map(one).collect()
}

/// Ranges of bytes as single chunks or parts of them, clipped.
fn pieces(chunks: impl Iterator<Item = u64>, within: &Range<Bytes>) -> Vec<(u64, u64)> {
    chunks
        .map(|chunk| (chunk * CHUNK, (chunk + 1) * CHUNK))
        .map(|(start, end)| (start.max(within.start.0), end.min(within.end.0)))
        .filter(|(start, end)| start < end)
        .collect()
}

/// Neighbours joined.
fn joined(pieces: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (start, end) in pieces {
        match joined.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => joined.push((start, end)),
        }
    }
    joined
}

fn ends(extent: Extent) -> (u64, u64) {
    (extent.offset.0, extent.offset.0 + extent.length.0)
}

/// The whole, or some part that need not begin or end with a chunk.
fn within() -> impl Strategy<Value = Range<Bytes>> {
    let part = (0..3000 * CHUNK, 0..3000 * CHUNK);
    prop_oneof![
        Just(Bytes(0)..Bytes(u64::MAX)),
        part.prop_map(|(start, length)| Bytes(start)..Bytes(start + length)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_mapping_is_read_in_order(volume in volume(), shape in shape()) {
        let mut image = Image::new(384);
        image.add(5, &volume, shape);
        let mut metadata = image.read(shape);
        let device = device(&mut metadata, 5);
        prop_assert_eq!(device.mapped_chunks, volume.len() as u64);
        let found: Vec<_> = metadata.mappings(&device).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(&found, &plain(&volume));
        let runs = metadata.mapping_runs(&device).unwrap().map(Result::unwrap);
        let chunks: u64 = runs.map(|run| run.chunks).sum();
        prop_assert_eq!(chunks, volume.len() as u64);
    }

    #[test]
    fn mapped_and_changed_extents_are_the_mapped_and_the_young_chunks(
        volume in volume(), shape in shape(), within in within(), since in 0..6_u32,
    ) {
        let mut image = Image::new(384);
        image.add(5, &volume, shape);
        let mut metadata = image.read(shape);
        let device = device(&mut metadata, 5);
        let found: Vec<_> =
            metadata.mapped(&device, within.clone()).unwrap().map(|e| ends(e.unwrap())).collect();
        prop_assert_eq!(found, joined(pieces(volume.keys().copied(), &within)));
        let (_, time) = mapping(0, since);
        let found = metadata.changed_since(&device, time, within.clone()).unwrap();
        let found: Vec<_> = found.map(|extent| ends(extent.unwrap())).collect();
        let young = volume.iter().filter(|(_, (_, time))| *time >= since).map(|(&thin, _)| thin);
        prop_assert_eq!(found, joined(pieces(young, &within)));
    }

    #[test]
    fn a_delta_is_what_a_comparison_of_everything_finds(
        (left, right) in two_volumes(), shape in shape(), other in shape(),
        same_shape in any::<bool>(), within in within(),
    ) {
        let mut image = Image::new(384);
        image.add(1, &left, shape);
        image.add(2, &right, if same_shape { shape } else { other });
        let mut metadata = image.read(shape);
        let (from, to) = (device(&mut metadata, 1), device(&mut metadata, 2));
        let found: Vec<ChangedExtent> =
            metadata.delta(&from, &to, within.clone()).unwrap().map(Result::unwrap).collect();
        let touch = |pair: &[ChangedExtent]| ends(pair[0].extent).1 == pair[1].extent.offset.0;
        let joinable = found.windows(2).any(|pair| touch(pair) && pair[0].change == pair[1].change);
        prop_assert!(!joinable);
        let wanted = compare(&plain(&left), &plain(&right));
        for change in [super::super::Change::Written, super::super::Change::Discarded] {
            let of = |c: &ChangedExtent| (c.change == change).then(|| ends(c.extent));
            let found: Vec<_> = found.iter().filter_map(of).collect();
            let wanted = wanted.iter().filter(|(_, c)| *c == change).map(|(thin, _)| *thin);
            prop_assert_eq!(found, joined(pieces(wanted, &within)));
        }
    }

    #[test]
    fn every_device_is_listed_and_found(
        ids in prop::collection::btree_set(0..1_u32 << 24, 0..600), shape in shape(),
    ) {
        let mut image = Image::new(384);
        let volume: Volume = (0..10).map(|thin| (thin, (thin, 0))).collect();
        for id in &ids {
            image.add(*id, &volume, shape);
        }
        let mut metadata = image.read(shape);
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = metadata.devices_after(after).unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            found.extend(page);
        }
        prop_assert!(found.iter().map(|device| device.id.get()).eq(ids.iter().copied()));
        for wanted in found.iter().step_by(7) {
            prop_assert_eq!(&metadata.device(wanted.id).unwrap(), wanted);
        }
    }
}

#[test]
fn the_end_of_a_volume_cuts_the_last_extent() {
    let shape = Shape { seed: 1, entries: 4, slack: false };
    let mut image = Image::new(384);
    image.add(1, &[(0, (0, 0)), (1, (1, 0)), (9, (9, 0))].into(), shape);
    let mut metadata = image.read(shape);
    let device = device(&mut metadata, 1);
    let end = Bytes(CHUNK + 4096);
    let found: Vec<_> =
        metadata.mapped(&device, Bytes(0)..end).unwrap().map(|e| ends(e.unwrap())).collect();
    assert_eq!(found, [(0, CHUNK + 4096)]);
    assert_eq!(metadata.mapped(&device, end..end).unwrap().count(), 0);
}
