//! Requests that arrive late, or again.

use super::*;

#[test]
fn trace_c_the_first_attempt_of_a_run_arrives_behind_its_collection() {
    let mut stage = Stage::new(true, |client| {
        client.upload("live", &[1], PACKS, None).unwrap();
    });
    let acts = vec![upload(&[2]), delete_newest(), collect(false), collect(false), upload(&[2])];
    follow(
        &mut stage,
        acts,
        &[
            Until(0, "create index"),
            Make(0, Fate::Repeated),
            Finish(0),
            Finish(1),
            Finish(2),
            Finish(3),
            Arrive,
            Finish(4),
        ],
    );
    assert_kept(stage);
}

#[test]
fn trace_h_a_manifest_that_arrives_twice_brings_no_deleted_backup_back() {
    let mut stage = stage(false);
    let acts = vec![upload(&[2]), delete_newest(), collect(false)];
    follow(
        &mut stage,
        acts,
        &[
            Until(0, "create outcome"),
            Make(0, Fate::Repeated),
            Finish(0),
            Finish(1),
            Arrive,
            Finish(2),
        ],
    );
    assert_kept(stage);
}

#[test]
fn trace_h_with_the_manifest_behind_collections() {
    for is_atomic in [false, true] {
        let mut stage = stage(is_atomic);
        let acts = vec![upload(&[2]), delete_newest(), collect(false), collect(false)];
        follow(
            &mut stage,
            acts,
            &[
                Until(0, "create outcome"),
                Make(0, Fate::Repeated),
                Finish(0),
                Finish(1),
                Finish(2),
                Finish(3),
                Arrive,
            ],
        );
        assert_kept(stage);
    }
}

#[test]
fn a_pack_that_arrives_again_behind_its_collection_is_collected_again() {
    let mut stage = Stage::new(true, |client| {
        client.upload("live", &[1], PACKS, None).unwrap();
    });
    let acts = vec![upload(&[2]), delete_newest(), collect(false), collect(false), upload(&[2])];
    follow(
        &mut stage,
        acts,
        &[
            Until(0, "create pack"),
            Make(0, Fate::Repeated),
            Until(0, "create ack"),
            Finish(0),
            Finish(1),
            Finish(2),
            Finish(3),
            Arrive,
            Finish(4),
        ],
    );
    stage.alone(Client::check);
    // Both live backups have one for blocks and one for nodes.
    assert_eq!(packs(&mut stage), 5);
    stage.alone(|client| client.collect(true)).unwrap();
    assert_eq!(packs(&mut stage), 4);
    assert_kept(stage);
}

#[test]
fn a_pack_that_arrives_again_is_not_kept_in_place_of_another() {
    let mut stage = live_stage();
    let acts = vec![
        upload(&[2]),
        collect(false),
        delete_newest(),
        collect(false),
        upload(&[2]),
        collect(false),
    ];
    follow(
        &mut stage,
        acts,
        &[
            Until(0, "create pack"),
            Make(0, Fate::Repeated),
            Finish(0),
            // Its index will name that pack.
            Until(1, "create compacted"),
            Finish(2),
            // Deletes it. All is acked, so nobody condemns it any more.
            Until(3, "delete pack"),
            Make(3, Fate::Repeated),
            Make(3, Fate::Repeated),
            Finish(3),
            Finish(1),
            // Does not know of it, and stores the block again.
            Finish(4),
            // It is there again,
            Arrive,
            Finish(5),
            // and is deleted again.
            Arrive,
            Arrive,
        ],
    );
    assert_kept(stage);
}

#[test]
fn a_pack_that_arrives_again_is_not_kept_while_a_slow_collector_is_about_to_delete_it() {
    let mut stage = live_stage();
    let acts = vec![
        upload(&[2]),
        collect(false),
        delete_newest(),
        collect(false),
        collect(false),
        upload(&[2]),
        collect(false),
    ];
    follow(
        &mut stage,
        acts,
        &[
            Until(0, "create pack"),
            Make(0, Fate::Repeated),
            Finish(0),
            Until(1, "create compacted"),
            Finish(2),
            Until(3, "delete pack"),
            Finish(4),
            Finish(1),
            Finish(5),
            Arrive,
            Finish(6),
            Finish(3),
        ],
    );
    assert_kept(stage);
}

#[test]
fn a_mark_that_arrives_behind_the_collection_of_its_backup_blocks_nobody() {
    let mut stage = stage(true);
    stage.alone(|client| drop(client.upload("w", &[2], PACKS, None)));
    let read: Act<'_> = Box::new(|client| client.read(&newest(client)));
    let acts = vec![read, delete_newest(), collect(false)];
    follow(
        &mut stage,
        acts,
        &[
            Until(0, "create reader"),
            Finish(1),
            Make(0, Fate::Crash),
            // What it reached is gone, and its outcome and tomb are there.
            Until(2, "list compacted"),
            Make(2, Fate::Crash),
            Arrive,
        ],
    );
    for _ in 0..2 {
        let end = stage.alone(|client| client.collect(false)).unwrap();
        assert_eq!(end, CollectionEnd::Finished);
    }
    assert_kept(stage);
}

#[test]
fn a_deleted_backup_without_an_ack_is_work_once_only() {
    let mut stage = live_stage();
    let acts = vec![upload(&[2]), delete_newest()];
    let steps = [Until(0, "create index"), Make(0, Fate::Repeated), Finish(0), Finish(1)];
    follow(&mut stage, acts, &steps);
    let mut collect = || stage.alone(|client| client.collect(false)).unwrap();
    assert_eq!([collect(), collect()], [CollectionEnd::Finished, CollectionEnd::Idle]);
    stage.arrive();
    assert_kept(stage);
}

fn live_stage() -> Stage {
    Stage::new(true, |client| drop(client.upload("live", &[1], PACKS, None).unwrap()))
}
