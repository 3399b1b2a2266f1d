//! The ways in which earlier protocols lost a backup, each by name.

use super::actors::{Client, Shape};
use super::stage::{Act, Stage};
use super::world::{Actor, Choice, Director, Fate};
use crate::collect::CollectionEnd;

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The actor goes on until it is about to make a request that begins so, or is done.
    Until(Actor, &'static str),
    /// It makes the request it is about to make.
    Make(Actor, Fate),
    /// It goes on to its end.
    Finish(Actor),
    /// The first request that is under way arrives.
    Arrive,
}

use Step::{Arrive, Finish, Make, Until};

/// Follows `steps`, then lets all go on in turn.
fn script(steps: &[Step]) -> Director {
    let mut steps = steps.to_vec();
    steps.reverse();
    Box::new(move |waiting, late| {
        let find = |actor| waiting.iter().position(|it| it.actor == actor);
        while let Some(step) = steps.last().copied() {
            match step {
                Until(actor, label) => match find(actor) {
                    Some(index) if !waiting[index].label.starts_with(label) => {
                        return Choice::Go(index, Fate::Done);
                    }
                    _ => {}
                },
                Finish(actor) => {
                    if let Some(index) = find(actor) {
                        return Choice::Go(index, Fate::Done);
                    }
                }
                Make(actor, fate) => {
                    steps.pop();
                    return Choice::Go(find(actor).unwrap(), fate);
                }
                Arrive => {
                    steps.pop();
                    assert!(late > 0, "nothing is under way");
                    return Choice::Late(0);
                }
            }
            steps.pop();
        }
        Choice::Go(0, Fate::Done)
    })
}

/// Each block in a pack of its own, as blocks of large volumes are.
const PACKS: Shape = Shape { in_packs: true, split: false };

/// A live backup of content 1, and one of content 2 whose deletion left garbage.
fn stage(is_atomic: bool) -> Stage {
    Stage::new(is_atomic, |client| {
        client.upload("live", &[1], PACKS, None).unwrap();
        let garbage = client.upload("garbage", &[2], PACKS, None).unwrap();
        client.delete(&garbage).unwrap();
    })
}

fn upload(contents: &[u8]) -> Act<'_> {
    Box::new(move |client| drop(client.upload("w", contents, PACKS, None)))
}

/// Uploads on the newest backup of content 2 that is listed.
fn upload_on_base(contents: &[u8]) -> Act<'_> {
    Box::new(move |client| {
        let base = newest(client);
        drop(client.upload("w", contents, PACKS, Some(&base)));
    })
}

/// The backup of content 2 that is listed.
fn newest(client: &Client) -> crate::Manifest {
    let backups = client.backups().unwrap();
    let begun = client.ledger.lock().unwrap().begun.clone();
    backups.into_iter().find(|backup| begun[&backup.id] == [2]).unwrap()
}

fn delete_newest() -> Act<'static> {
    Box::new(|client| drop(client.delete(&newest(client))))
}

fn collect(fence: bool) -> Act<'static> {
    Box::new(move |client| drop(client.collect(fence)))
}

fn assert_kept(mut stage: Stage) {
    if let Err(failure) = stage.verdict() {
        panic!("{failure}");
    }
}

#[test]
fn trace_a_a_backup_deleted_behind_the_collector_was_somebodys_base() {
    let mut stage = stage(true);
    let acts = vec![upload(&[2]), collect(false), upload_on_base(&[2, 3]), delete_newest()];
    stage.play(
        acts,
        script(&[
            // P counts on the garbage, and commits behind G1.
            Until(0, "create outcome"),
            Until(1, "create gen"),
            Finish(0),
            // G2 and G3: nobody else uploads.
            Until(1, "list reader"),
            Until(2, "create session"),
            Until(2, "create outcome"),
            Finish(3),
        ]),
    );
    assert_kept(stage);
}

#[test]
fn trace_a_with_the_look_at_outcomes_behind_the_deletion() {
    let mut stage = stage(true);
    let acts = vec![upload(&[2]), collect(false), upload_on_base(&[2, 3]), delete_newest()];
    stage.play(
        acts,
        script(&[
            Until(0, "create outcome"),
            Until(1, "create gen"),
            Finish(0),
            // Up to the listing by which G3 ends.
            Until(1, "list session"),
            Until(1, "list ack"),
            Until(2, "create outcome"),
            Finish(3),
        ]),
    );
    assert_kept(stage);
}

#[test]
fn trace_b_a_slow_writer_publishes_a_pack_that_is_gone() {
    let mut stage = stage(true);
    let acts = vec![upload(&[3]), collect(true), collect(true), upload(&[3])];
    stage.play(
        acts,
        script(&[
            Until(0, "create index"),
            Until(3, "create session"),
            Finish(1),
            Finish(2),
            Make(0, Fate::Done),
            Finish(3),
        ]),
    );
    assert_kept(stage);
}

#[test]
fn trace_c_the_first_attempt_of_a_run_arrives_behind_its_collection() {
    let mut stage = Stage::new(true, |client| {
        client.upload("live", &[1], PACKS, None).unwrap();
    });
    let acts = vec![upload(&[2]), delete_newest(), collect(false), collect(false), upload(&[2])];
    stage.play(
        acts,
        script(&[
            Until(0, "create index"),
            Make(0, Fate::Repeated),
            Finish(0),
            Finish(1),
            Finish(2),
            Finish(3),
            Arrive,
            Finish(4),
        ]),
    );
    assert_kept(stage);
}

#[test]
fn trace_d_a_slow_collector_publishes_an_index_of_what_another_has_deleted() {
    let mut stage = Stage::new(true, |client| {
        client.upload("live", &[1], PACKS, None).unwrap();
        client.upload("later", &[2], PACKS, None).unwrap();
    });
    let acts = vec![collect(false), delete_newest(), collect(false), upload(&[2]), upload(&[2, 4])];
    stage.play(
        acts,
        script(&[
            Until(0, "create compacted"),
            Finish(1),
            Finish(2),
            Until(3, "create session"),
            Finish(0),
            Finish(3),
        ]),
    );
    assert_kept(stage);
}

#[test]
fn trace_e_a_collector_dies_between_its_last_steps() {
    for survived in 0.. {
        let mut stage = stage(true);
        let mut made = 0;
        let director: Director = Box::new(move |waiting, _| {
            let is_behind_g1 = made > 0 || waiting[0].label.starts_with("create gen");
            made += u32::from(is_behind_g1);
            Choice::Go(0, if made == survived + 1 { Fate::Crash } else { Fate::Done })
        });
        stage.play(vec![collect(false)], director);
        let died = stage.had_a_crash();
        stage.alone(|client| client.upload("w", &[2], PACKS, None)).unwrap();
        assert_kept(stage);
        if !died {
            assert!(survived > 20, "only {survived} requests behind G1");
            break;
        }
    }
}

#[test]
fn trace_f_an_upload_that_begins_behind_g3_keeps_its_mark() {
    let mut stage = stage(true);
    let acts = vec![
        collect(false),
        upload(&[2]),
        Box::new(|client: &Client| {
            let end = client.collect(false).unwrap();
            assert!(matches!(end, CollectionEnd::Waiting { .. }), "{end:?}");
        }) as Act<'_>,
    ];
    stage.play(
        acts,
        script(&[
            Until(0, "create gen"),
            Until(0, "list session"),
            Until(0, "list outcome"),
            Until(1, "create outcome"),
            Finish(0),
            Finish(2),
        ]),
    );
    assert_kept(stage);
}

#[test]
fn trace_g_a_listing_misses_the_generation_that_goes_and_the_one_that_comes() {
    let mut stage = stage(true);
    // The first collector leaves its generation, the second takes its place.
    let acts = vec![collect(false), upload(&[2]), collect(false)];
    stage.play(
        acts,
        script(&[
            Until(0, "delete pack"),
            Until(1, "list gen "),
            Make(1, Fate::Done),
            Until(2, "delete gen"),
            Until(2, "delete session"),
            Make(1, Fate::Done),
            Until(1, "list index"),
        ]),
    );
    assert_kept(stage);
}

#[test]
fn a_backup_that_is_deleted_while_it_is_read_is_read_to_its_end() {
    let mut stage = stage(true);
    let read = |client: &Client| {
        let backup = client.backups().unwrap().remove(0);
        client.read(&backup);
    };
    let delete = |client: &Client| {
        let backup = client.backups().unwrap().remove(0);
        drop(client.delete(&backup));
    };
    let acts = vec![Box::new(read) as Act<'_>, Box::new(delete), collect(false)];
    stage.play(acts, script(&[Until(0, "get index"), Finish(1), Finish(2)]));
    assert_kept(stage);
}

#[test]
fn trace_h_a_manifest_that_arrives_twice_brings_no_deleted_backup_back() {
    let mut stage = stage(false);
    let acts = vec![upload(&[2]), delete_newest(), collect(false)];
    stage.play(
        acts,
        script(&[
            Until(0, "create outcome"),
            Make(0, Fate::Repeated),
            Finish(0),
            Finish(1),
            Arrive,
            Finish(2),
        ]),
    );
    assert_kept(stage);
}
