//! The decisions of recovery, as a table of what is recorded, what is there, and what follows.

use super::*;
use crate::record::{HeldSuperblock, KeptBody, Nonce, VERSION};
use crate::testing::{group, inventory, lv, mounted, snapshot, thin, uuid};
use jiff::Timestamp;

const BOOT: &str = "this boot";
const MOUNT_POINT: &str = "/run/thinmover/mnt/s";

fn nonce() -> Nonce {
    Nonce::parse(&"a0".repeat(16)).unwrap()
}

fn tag() -> String {
    format!("thinmover.owner={}", "a0".repeat(16))
}

fn record(body: Body) -> Record {
    let created_at = Timestamp::UNIX_EPOCH;
    Record { version: VERSION, nonce: nonce(), created_at, boot_id: BOOT.into(), body }
}

fn vg() -> Named<VgName> {
    Named { name: group().name, uuid: uuid('g') }
}

/// The record of the snapshot `s` of the volume `data`.
fn of_snapshot(owner: Owner, phase: SnapshotPhase, seen: bool) -> SnapshotBody {
    SnapshotBody {
        owner,
        vg: vg(),
        origin: Named { name: lv("data"), uuid: uuid('d') },
        name: lv("s"),
        uuid: seen.then(|| uuid('s')),
        phase,
        mount: None,
    }
}

fn job() -> SnapshotBody {
    of_snapshot(Owner::Job("j".into()), SnapshotPhase::Complete, true)
}

fn operators() -> SnapshotBody {
    of_snapshot(Owner::Operator, SnapshotPhase::Complete, true)
}

/// The number of the backup that the base `s` belongs to.
fn note() -> Nonce {
    Nonce::parse(&"b0".repeat(16)).unwrap()
}

fn base(phase: SnapshotPhase) -> SnapshotBody {
    let kept = KeptBody { note: note(), device: 5, device_transaction: 9, mapped_chunks: 160 };
    of_snapshot(Owner::Base(kept), phase, true)
}

/// The volume `data` as the backup with that number left it.
fn data_of(note: &str) -> Volume {
    Volume { tags: vec![format!("thinmover.base={note}")], ..data() }
}

fn with_mount(body: SnapshotBody, boot_id: &str, complete: bool) -> SnapshotBody {
    let mount = MountBody { path: MOUNT_POINT.into(), boot_id: boot_id.into(), complete };
    SnapshotBody { mount: Some(mount), ..body }
}

fn data() -> Volume {
    thin("data", 'd')
}

/// The snapshot as thinmover makes it.
fn ours() -> Volume {
    Volume { tags: vec!["other".into(), tag()], ..snapshot("s", 's', &data()) }
}

fn of_created(seen: bool, finished: bool) -> Body {
    Body::Created(CreatedBody {
        vg: vg(),
        pool: Named { name: lv("pool0"), uuid: uuid('p') },
        name: lv("new"),
        uuid: seen.then(|| uuid('n')),
        finished,
    })
}

fn new_volume() -> Volume {
    Volume { tags: vec![tag()], active: true, ..thin("new", 'n') }
}

fn of_activated() -> Body {
    Body::Activated(ActivatedBody { vg: vg(), volume: Named { name: lv("data"), uuid: uuid('d') } })
}

fn of_restoring() -> Body {
    let volume = Named { name: lv("data"), uuid: uuid('d') };
    Body::Restoring(RestoringBody { vg: vg(), volume, job: "job-1".into() })
}

#[test]
fn a_half_restored_volume_stays_marked_until_the_mark_is_gone() {
    let tagged = |tag: &str| Volume { tags: vec![tag.into()], ..data() };
    expect(of_restoring(), vec![tagged("thinmover.restoring=job-1")], &[]);
    // Taken off, never put on, another restore's, or the volume is gone.
    expect(of_restoring(), vec![data()], &FORGOTTEN);
    expect(of_restoring(), vec![tagged("thinmover.restoring=job-2")], &FORGOTTEN);
    expect(of_restoring(), vec![], &FORGOTTEN);
}

const TAKEN: HeldSuperblock = HeldSuperblock { block: 77, checksum: 0xfeed };

fn of_held(taken: Option<HeldSuperblock>) -> Body {
    let pool = Named { name: lv("pool0"), uuid: uuid('p') };
    Body::MetadataSnapshot(MetadataSnapshotBody { vg: vg(), pool, taken })
}

/// What follows from what is on record and what the pool holds.
fn decide_held(taken: Option<HeldSuperblock>, held: Held) -> (Vec<String>, Option<String>) {
    let plan = plan(&record(of_held(taken)), &inventory(vec![]), BOOT, held);
    (plan.steps.iter().map(ToString::to_string).collect(), plan.left)
}

fn decide(body: Body, volumes: Vec<Volume>) -> (Vec<String>, Option<String>) {
    let plan = plan(&record(body), &inventory(volumes), BOOT, Held::Nothing);
    (plan.steps.iter().map(ToString::to_string).collect(), plan.left)
}

#[track_caller]
fn expect(body: Body, volumes: Vec<Volume>, steps: &[&str]) {
    let (planned, left) = decide(body, volumes);
    assert_eq!(planned, steps);
    assert_eq!(left, None);
}

#[track_caller]
fn expect_left(body: Body, volumes: Vec<Volume>, why: &str) {
    let (planned, left) = decide(body, volumes);
    assert_eq!(planned, [""; 0]);
    let left = left.expect("something is left alone");
    assert!(left.contains(why), "{left}");
}

const REMOVED: [&str; 2] = ["remove vg0/s", "remove the record"];
const FORGOTTEN: [&str; 1] = ["remove the record"];

#[test]
fn a_dead_jobs_snapshot_is_removed_active_or_not() {
    expect(Body::Snapshot(job()), vec![data(), ours()], &REMOVED);
    let active = Volume { active: true, ..ours() };
    expect(Body::Snapshot(job()), vec![data(), active], &REMOVED);
}

#[test]
fn a_snapshot_whose_origin_is_gone_is_removed() {
    let orphan = Volume { origin: None, origin_uuid: None, ..ours() };
    expect(Body::Snapshot(job()), vec![orphan], &REMOVED);
}

#[test]
fn the_record_of_a_snapshot_that_never_came_to_be_is_removed() {
    let creating = of_snapshot(Owner::Operator, SnapshotPhase::Creating, false);
    expect(Body::Snapshot(creating), vec![data()], &FORGOTTEN);
    expect(Body::Snapshot(job()), vec![data()], &FORGOTTEN);
}

#[test]
fn an_interrupted_creation_is_undone_by_name_tag_and_origin() {
    let creating = || Body::Snapshot(of_snapshot(Owner::Operator, SnapshotPhase::Creating, false));
    expect(creating(), vec![data(), ours()], &REMOVED);
    let renamed = Volume { name: lv("t"), ..ours() };
    expect_left(creating(), vec![data(), renamed], "the record is about s");
    let of_another = Volume { origin_uuid: Some(uuid('x')), ..ours() };
    expect_left(creating(), vec![data(), of_another], "the record is about s");
    let thick = Volume { pool: None, pool_uuid: None, ..ours() };
    expect_left(creating(), vec![data(), thick], "the record is about s");
    let twice = Volume { uuid: uuid('t'), name: lv("t"), ..ours() };
    expect_left(creating(), vec![data(), ours(), twice], "carries");
}

#[test]
fn anothers_volume_of_the_same_name_is_not_touched() {
    let creating = of_snapshot(Owner::Operator, SnapshotPhase::Creating, false);
    let others = Volume { tags: vec!["thinmover.owner=b1".into()], ..ours() };
    expect(Body::Snapshot(creating), vec![data(), others], &FORGOTTEN);
}

#[test]
fn a_volume_without_the_tag_is_left_alone() {
    let untagged = Volume { tags: Vec::new(), ..ours() };
    expect_left(Body::Snapshot(job()), vec![data(), untagged], "does not carry");
}

#[test]
fn the_tag_on_a_volume_of_another_uuid_is_left_alone() {
    let copied = Volume { uuid: uuid('t'), ..ours() };
    expect_left(Body::Snapshot(job()), vec![data(), copied], "carries");
}

#[test]
fn an_operators_complete_snapshot_stays() {
    expect(Body::Snapshot(operators()), vec![data(), ours()], &[]);
}

#[test]
fn a_base_stays_while_its_origins_tag_names_it() {
    let complete = || Body::Snapshot(base(SnapshotPhase::Complete));
    expect(complete(), vec![data_of(note().as_str()), ours()], &[]);
    // Not handed over to yet, or handed over by; set back; gone; the tag taken off or doubled.
    expect(complete(), vec![data_of(&"c1".repeat(16)), ours()], &REMOVED);
    expect(complete(), vec![data(), ours()], &REMOVED);
    expect(complete(), vec![ours()], &REMOVED);
    let mut twice = data_of(note().as_str());
    twice.tags.extend(data_of(&"c1".repeat(16)).tags);
    expect(complete(), vec![twice, ours()], &REMOVED);
    // Deleted by hand.
    expect(complete(), vec![data_of(note().as_str())], &FORGOTTEN);
}

#[test]
fn a_bases_deletion_is_completed_and_one_in_use_or_of_doubt_is_left_alone() {
    let named = || data_of(note().as_str());
    let deleting = Body::Snapshot(base(SnapshotPhase::Deleting));
    expect(deleting, vec![named(), ours()], &REMOVED);
    let complete = || Body::Snapshot(base(SnapshotPhase::Complete));
    expect_left(complete(), vec![data(), mounted(ours(), "/mnt")], "in use");
    let untagged = Volume { tags: Vec::new(), ..ours() };
    expect_left(complete(), vec![named(), untagged], "does not carry");
}

#[test]
fn an_interrupted_deletion_is_completed() {
    let deleting = of_snapshot(Owner::Operator, SnapshotPhase::Deleting, true);
    expect(Body::Snapshot(deleting), vec![data(), ours()], &REMOVED);
}

#[test]
fn an_operators_mount_stays_until_it_is_unmounted() {
    let body = with_mount(operators(), BOOT, true);
    expect(Body::Snapshot(body), vec![data(), mounted(ours(), MOUNT_POINT)], &[]);
}

#[test]
fn an_interrupted_mount_is_undone_at_every_step() {
    let body = || Body::Snapshot(with_mount(operators(), BOOT, false));
    let (folder, strike) =
        ("remove the mount point /run/thinmover/mnt/s", "strike the mount off the record");
    expect(body(), vec![data(), ours()], &[folder, strike]);
    let active = Volume { active: true, ..ours() };
    expect(body(), vec![data(), active], &[folder, "deactivate vg0/s", strike]);
    expect(
        body(),
        vec![data(), mounted(ours(), MOUNT_POINT)],
        &["unmount /run/thinmover/mnt/s", "deactivate vg0/s", strike],
    );
}

#[test]
fn a_mount_of_an_earlier_boot_is_struck_off() {
    let body = with_mount(operators(), "an earlier boot", true);
    expect(Body::Snapshot(body), vec![data(), ours()], &["strike the mount off the record"]);
}

#[test]
fn a_mount_that_this_boot_has_no_record_of_is_left_alone() {
    let body = with_mount(operators(), "an earlier boot", true);
    expect_left(Body::Snapshot(body), vec![data(), mounted(ours(), MOUNT_POINT)], "in use");
}

#[test]
fn a_mount_that_was_undone_by_hand_is_tidied_up_after() {
    let body = with_mount(operators(), BOOT, true);
    expect(
        Body::Snapshot(body),
        vec![data(), Volume { active: true, ..ours() }],
        &[
            "remove the mount point /run/thinmover/mnt/s",
            "deactivate vg0/s",
            "strike the mount off the record",
        ],
    );
}

#[test]
fn a_snapshot_that_someone_else_uses_is_left_alone() {
    let open = Volume { active: true, open: true, ..ours() };
    expect_left(Body::Snapshot(job()), vec![data(), open], "in use");
    expect_left(Body::Snapshot(job()), vec![data(), mounted(ours(), "/mnt")], "in use");
    let body = with_mount(operators(), BOOT, false);
    let mut twice = mounted(ours(), MOUNT_POINT);
    twice.mounts.extend(mounted(ours(), "/mnt").mounts);
    expect_left(Body::Snapshot(body), vec![data(), twice], "in use");
}

#[test]
fn nothing_is_concluded_from_a_group_that_is_not_seen_whole() {
    let bodies =
        || [Body::Snapshot(job()), of_created(true, false), of_activated(), of_held(Some(TAKEN))];
    for body in bodies() {
        let plan = plan(&record(body), &Inventory::default(), BOOT, Held::Nothing);
        assert!(plan.steps.is_empty());
        assert!(plan.left.unwrap().contains("not visible"));
    }
    for body in bodies() {
        let mut exported = inventory(vec![]);
        exported.groups[0].exported = true;
        let plan = plan(&record(body), &exported, BOOT, Held::Nothing);
        assert!(plan.steps.is_empty() && plan.left.is_some());
    }
    for body in bodies() {
        let mut duplicate = inventory(vec![data(), ours()]);
        duplicate.groups[0].duplicate = true;
        let plan = plan(&record(body), &duplicate, BOOT, Held::Nothing);
        assert!(plan.steps.is_empty() && plan.left.is_some());
    }
}

#[test]
fn a_half_restored_new_volume_is_removed() {
    for seen in [false, true] {
        expect(
            of_created(seen, false),
            vec![new_volume()],
            &["remove vg0/new", "remove the record"],
        );
    }
}

#[test]
fn a_half_restored_new_volume_in_use_or_of_doubt_is_left_alone() {
    let open = Volume { open: true, ..new_volume() };
    expect_left(of_created(true, false), vec![open], "in use");
    let untagged = Volume { tags: Vec::new(), ..new_volume() };
    expect_left(of_created(true, false), vec![untagged], "does not carry");
    let elsewhere = Volume { pool_uuid: Some(uuid('q')), ..new_volume() };
    expect_left(of_created(false, false), vec![elsewhere], "carries");
}

#[test]
fn a_finished_new_volume_stays_and_loses_its_tag() {
    expect(
        of_created(true, true),
        vec![new_volume()],
        &["take the owner's tag off vg0/new", "remove the record"],
    );
    let untagged = Volume { tags: Vec::new(), ..new_volume() };
    expect(of_created(true, true), vec![untagged], &FORGOTTEN);
}

#[test]
fn an_activation_is_taken_back_unless_the_volume_is_in_use_by_now() {
    let active = Volume { active: true, ..data() };
    expect(of_activated(), vec![active.clone()], &["deactivate vg0/data", "remove the record"]);
    expect(of_activated(), vec![Volume { open: true, ..active }], &FORGOTTEN);
    expect(of_activated(), vec![data()], &FORGOTTEN);
    expect(of_activated(), vec![], &FORGOTTEN);
}

#[test]
fn an_activation_of_an_earlier_boot_is_not_taken_back() {
    let active = Volume { active: true, ..data() };
    let record = Record { boot_id: "an earlier boot".into(), ..record(of_activated()) };
    let plan = plan(&record, &inventory(vec![active]), BOOT, Held::Nothing);
    let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
    assert_eq!(steps, FORGOTTEN);
}

#[test]
fn a_metadata_snapshot_on_record_is_released() {
    let steps = ["release the metadata snapshot of vg0/pool0", "remove the record"];
    let (planned, left) = decide_held(Some(TAKEN), Held::Snapshot(TAKEN));
    assert_eq!((planned, left), (steps.map(str::to_owned).to_vec(), None));
}

#[test]
fn another_programs_metadata_snapshot_is_never_released() {
    let forgotten = (FORGOTTEN.map(str::to_owned).to_vec(), None);
    for other in [
        HeldSuperblock { block: 78, ..TAKEN },
        HeldSuperblock { checksum: TAKEN.checksum + 1, ..TAKEN },
    ] {
        assert_eq!(decide_held(Some(TAKEN), Held::Snapshot(other)), forgotten);
    }
    let (planned, left) = decide_held(None, Held::Snapshot(TAKEN));
    assert_eq!(planned, [""; 0]);
    let left = left.unwrap();
    let by_hand = "dmsetup message vg0-pool0-tpool 0 release_metadata_snap";
    assert!(left.contains("may be ours") && left.contains(by_hand), "{left}");
}

#[test]
fn the_record_of_a_metadata_snapshot_goes_once_the_pool_holds_none() {
    let forgotten = (FORGOTTEN.map(str::to_owned).to_vec(), None);
    for taken in [None, Some(TAKEN)] {
        assert_eq!(decide_held(taken, Held::Nothing), forgotten);
        let (planned, left) = decide_held(taken, Held::Inactive);
        assert_eq!(planned, [""; 0]);
        assert!(left.unwrap().contains("not active"));
    }
    let mut without_pool = inventory(vec![]);
    without_pool.pools.clear();
    let plan = plan(&record(of_held(Some(TAKEN))), &without_pool, BOOT, Held::Inactive);
    assert_eq!(plan.steps.len(), 1);
    assert_eq!(plan.left, None);
}
