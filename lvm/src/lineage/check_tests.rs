//! Each thing that must be the same, changed alone.

use super::*;
use crate::dm_thin::tests::image::{Image, Shape, Volume, device};
use crate::error::LvmError;
use crate::lineage::{PhysicalExtents, check_metadata};
use crate::testing::uuid;

const SHAPE: Shape = Shape { seed: 1, entries: 3, slack: false };

/// As it was at the last backup: a snapshot made at time 5 by the transactions up to 20.
fn lineage() -> Lineage {
    let metadata = vec![PhysicalExtents { pv_uuid: "p".into(), start: 7, count: 2 }];
    Lineage {
        place: PlaceInPool {
            vg_uuid: uuid('g'),
            pool_uuid: uuid('p'),
            volume_uuid: uuid('v'),
            device: 1,
            device_time: 2,
            device_transaction: 3,
            chunk_bytes: 65536,
            metadata,
        },
        volume_bytes: 1 << 30,
        snapshot_time: 5,
        pool_transaction: 20,
    }
}

/// The pool as it is now.
#[derive(Clone)]
struct Now {
    place: PlaceInPool,
    superblock: Superblock,
    origin: Device,
    snapshot: Device,
    others: Vec<Device>,
}

fn time(time: u32) -> PoolTime {
    PoolTime::new(time).unwrap()
}

/// One that went on from there: two snapshots of others, then ours.
fn now() -> Now {
    let mut image = Image::new(128);
    image.add(1, &Volume::new(), SHAPE);
    let mut metadata = image.read(SHAPE);
    let template = device(&mut metadata, 1);
    let made = |id, transaction_id, at, snapshotted| {
        let mut device = template.clone();
        device.id = DeviceId::new(id).unwrap();
        device.transaction_id = transaction_id;
        device.creation_time = time(at);
        device.snapshotted_time = time(snapshotted);
        device
    };
    let mut superblock = metadata.superblock().clone();
    (superblock.time, superblock.transaction_id) = (time(8), 23);
    Now {
        place: lineage().place,
        superblock,
        origin: made(1, 3, 2, 8),
        snapshot: made(9, 22, 8, 8),
        others: vec![made(1, 3, 2, 8), made(2, 4, 2, 2), made(7, 20, 6, 6), made(8, 21, 7, 7)],
    }
}

fn earlier(now: &Now) -> Result<(), Broken> {
    check_earlier(&lineage(), &now.superblock, Some(&now.origin))?;
    now.others.iter().try_for_each(|device| check_device(&lineage(), device))
}

fn later(now: &Now) -> Result<(), Broken> {
    let Now { place, superblock, origin, snapshot, .. } = now;
    check_later(&lineage(), &Later { place, superblock, origin, snapshot })
}

/// What is wrong with the pool after `change`, before and after the later snapshot is made.
fn broken(change: impl FnOnce(&mut Now)) -> (Option<Broken>, Option<Broken>) {
    let mut now = now();
    change(&mut now);
    (earlier(&now).err(), later(&now).err())
}

#[test]
fn snapshots_and_deletes_by_others_break_nothing() {
    assert_eq!(broken(|_| ()), (None, None));
    assert_eq!(broken(|now| now.others.clear()), (None, None));
    // A new volume has the pool's time, and does not move it on.
    assert_eq!(broken(|now| now.others[2].creation_time = time(5)), (None, None));
    // Nothing at all has happened since.
    let mut untouched = now();
    untouched.superblock.time = time(5);
    untouched.superblock.transaction_id = 20;
    untouched.origin.snapshotted_time = time(5);
    untouched.others.truncate(2);
    assert_eq!(earlier(&untouched), Ok(()));
}

#[test]
fn metadata_that_was_set_back_is_noticed_before_a_snapshot_hides_it() {
    let set_back = |found: (Option<Broken>, _)| {
        assert!(matches!(&found.0, Some(Broken::MetadataSetBack(_))), "{:?}", found.0);
    };
    set_back(broken(|now| now.superblock.time = time(4)));
    set_back(broken(|now| now.superblock.transaction_id = 19));
    set_back(broken(|now| now.origin.snapshotted_time = time(4)));
    // Set back to time 3, given LVM's transaction, and gone on: a later device of an earlier time.
    set_back(broken(|now| now.others[2].creation_time = time(4)));
}

#[test]
fn every_device_of_the_pool_is_looked_at() {
    let lineage = Lineage { pool_transaction: 5, ..lineage() };
    let check = |earlier, go_on| {
        let mut image = Image::new(128);
        for id in 1..100 {
            image.creation_time = if id == earlier { 4 } else { 5 };
            image.add(id, &Volume::new(), SHAPE);
        }
        let mut metadata = image.read(SHAPE);
        check_metadata(&mut metadata, &lineage, Some(&now().origin), &|| go_on)
    };
    for earlier in [1, 50, 99] {
        let found = check(earlier, true).unwrap();
        assert!(matches!(found, Err(Broken::MetadataSetBack(_))), "{earlier}: {found:?}");
    }
    assert_eq!(check(100, true).unwrap(), Ok(()));
    assert!(matches!(check(100, false), Err(LvmError::Interrupted)));
}

#[test]
fn a_snapshot_that_is_not_later_is_noticed() {
    for (snapshot, origin) in [(5, 5), (4, 8), (8, 7)] {
        let found = broken(|now| {
            now.snapshot.creation_time = time(snapshot);
            now.origin.snapshotted_time = time(origin);
        });
        assert!(matches!(found.1, Some(Broken::MetadataSetBack(_))), "{snapshot} {origin}");
    }
    assert!(broken(|now| now.superblock.transaction_id = 19).1.is_some());
}

#[test]
fn another_device_under_the_volume_is_noticed() {
    for change in [
        (|now| now.origin.id = DeviceId::new(7).unwrap()) as fn(&mut Now),
        |now| now.origin.creation_time = time(3),
        |now| now.origin.transaction_id = 21,
    ] {
        let found = broken(change);
        assert!(matches!(found.0, Some(Broken::OtherDevice(_))), "{found:?}");
        assert!(matches!(found.1, Some(Broken::OtherDevice(_))), "{found:?}");
    }
    let gone = check_earlier(&lineage(), &now().superblock, None);
    assert!(matches!(gone, Err(Broken::OtherDevice(_))));
}

#[test]
fn another_volume_pool_or_place_of_the_metadata_is_noticed() {
    for change in [
        (|place| place.vg_uuid = uuid('h')) as fn(&mut PlaceInPool),
        |place| place.pool_uuid = uuid('q'),
        |place| place.volume_uuid = uuid('w'),
        |place| place.chunk_bytes = 131_072,
    ] {
        let found = broken(|now| change(&mut now.place)).1;
        assert!(matches!(found, Some(Broken::OtherVolume(_))), "{found:?}");
    }
    for change in [
        (|place| place.metadata[0].start = 8) as fn(&mut PlaceInPool),
        |place| place.metadata[0].pv_uuid = "q".into(),
        |place| place.metadata.clear(),
    ] {
        assert_eq!(broken(|now| change(&mut now.place)).1, Some(Broken::MetadataMoved));
    }
    // What was never known is not the same.
    let unknown =
        Lineage { place: PlaceInPool { metadata: Vec::new(), ..lineage().place }, ..lineage() };
    let place = unknown.place.clone();
    let Now { superblock, origin, snapshot, .. } = now();
    let now =
        Later { place: &place, superblock: &superblock, origin: &origin, snapshot: &snapshot };
    assert_eq!(check_later(&unknown, &now), Err(Broken::MetadataMoved));
}

#[test]
fn nothing_is_concluded_near_the_end_of_the_pools_clock() {
    let last = PoolTime::MAX - TIME_MARGIN;
    for at in [last + 1, PoolTime::MAX - 3] {
        let found = broken(|now| now.superblock.time = time(at));
        assert_eq!(found.0, Some(Broken::ClockAtEnd(at)));
    }
    assert_eq!(broken(|now| now.superblock.time = time(last)).0, None);
}
