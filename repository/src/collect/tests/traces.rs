//! The ways in which earlier protocols lost a backup, each by name.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use super::actors::{Client, Shape};
use super::stage::{Act, Stage};
use super::world::{Actor, Choice, Director, Fate};
use crate::collect::CollectionEnd;

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The actor goes on until it is about to make a request that begins so.
    Until(Actor, &'static str),
    /// It makes the request it is about to make.
    Make(Actor, Fate),
    /// It goes on to its end.
    Finish(Actor),
    /// The first request that is under way arrives.
    Arrive,
}

use Step::{Arrive, Finish, Make, Until};

/// Plays `acts` by `steps`, then lets all go on in turn. Each step must be met.
fn follow(stage: &mut Stage, acts: Vec<Act<'_>>, steps: &[Step]) {
    let missed = try_to_follow(stage, acts, steps);
    assert!(missed.is_empty(), "these steps were not met: {missed:?}\n{}", stage.trace());
}

/// Returns the steps that were not met. What arrives last may do so behind everybody's end.
fn try_to_follow(stage: &mut Stage, acts: Vec<Act<'_>>, steps: &[Step]) -> Vec<Step> {
    let left: Arc<Mutex<Vec<Step>>> = Arc::new(Mutex::new(steps.iter().rev().copied().collect()));
    let missed = Arc::new(Mutex::new(Vec::new()));
    let (steps, noted) = (Arc::clone(&left), Arc::clone(&missed));
    let director: Director = Box::new(move |waiting, late| {
        let mut steps = steps.lock().unwrap();
        let find = |actor| waiting.iter().position(|it| it.actor == actor);
        while let Some(step) = steps.last().copied() {
            let choice = match step {
                Until(actor, label) => match find(actor) {
                    Some(index) if !waiting[index].label.starts_with(label) => {
                        return Choice::Go(index, Fate::Done);
                    }
                    Some(_) => None,
                    None => {
                        noted.lock().unwrap().push(step);
                        None
                    }
                },
                Finish(actor) => match find(actor) {
                    Some(index) => return Choice::Go(index, Fate::Done),
                    None => None,
                },
                Make(actor, fate) => {
                    let index = find(actor);
                    if index.is_none() {
                        noted.lock().unwrap().push(step);
                    }
                    index.map(|index| Choice::Go(index, fate))
                }
                Arrive if late == 0 => {
                    noted.lock().unwrap().push(step);
                    None
                }
                Arrive => Some(Choice::Late(0)),
            };
            steps.pop();
            if let Some(choice) = choice {
                return choice;
            }
        }
        Choice::Go(0, Fate::Done)
    });
    stage.play(acts, director);
    let mut missed = std::mem::take(&mut *missed.lock().unwrap());
    for step in left.lock().unwrap().iter().rev() {
        match step {
            Finish(_) => {}
            Arrive => stage.arrive(),
            Until(..) | Make(..) => missed.push(*step),
        }
    }
    missed
}

/// Each block in a pack of its own, as blocks of large volumes are.
const PACKS: Shape = Shape { carried_bytes: 0, split: false };
/// Nodes in an index object, blocks in packs, as uploads of some size have it.
const MIXED: Shape = Shape { carried_bytes: 150, split: false };

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
    of(client, &[2])
}

/// The backup of some contents that is listed.
fn of(client: &Client, contents: &[u8]) -> crate::Manifest {
    let backups = client.backups().unwrap();
    let begun = client.ledger.lock().unwrap().begun.clone();
    backups.into_iter().find(|backup| begun[&backup.id] == contents).unwrap()
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
    follow(
        &mut stage,
        acts,
        &[
            // P counts on the garbage, and commits behind G1.
            Until(0, "create outcome"),
            Until(1, "create gen"),
            Finish(0),
            // G2 and G3: nobody else uploads.
            Until(1, "list reader"),
            Until(2, "create session"),
            Until(2, "create outcome"),
            Finish(3),
        ],
    );
    assert_kept(stage);
}

#[test]
fn trace_a_with_the_look_at_outcomes_behind_the_deletion() {
    let mut stage = stage(true);
    let acts = vec![upload(&[2]), collect(false), upload_on_base(&[2, 3]), delete_newest()];
    follow(
        &mut stage,
        acts,
        &[
            Until(0, "create outcome"),
            Until(1, "create gen"),
            Finish(0),
            // Up to the listing by which G3 ends.
            Until(1, "list session"),
            Until(1, "list retention"),
            Until(2, "create outcome"),
            Finish(3),
        ],
    );
    assert_kept(stage);
}

#[test]
fn trace_b_a_slow_writer_publishes_a_pack_that_is_gone() {
    let mut stage = stage(true);
    let acts = vec![upload(&[3]), collect(true), collect(true), upload(&[3])];
    follow(
        &mut stage,
        acts,
        &[
            Until(0, "create index"),
            Until(3, "create session"),
            Finish(1),
            Finish(2),
            Make(0, Fate::Done),
            Finish(3),
        ],
    );
    assert_kept(stage);
}

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
fn trace_d_a_slow_collector_publishes_an_index_of_what_another_has_deleted() {
    let mut stage = Stage::new(true, |client| {
        client.upload("live", &[1], PACKS, None).unwrap();
        client.upload("later", &[2], PACKS, None).unwrap();
    });
    let acts = vec![collect(false), delete_newest(), collect(false), upload(&[2]), upload(&[2, 4])];
    follow(
        &mut stage,
        acts,
        &[
            Until(0, "create compacted"),
            Finish(1),
            Finish(2),
            Until(3, "create session"),
            Finish(0),
            Finish(3),
        ],
    );
    assert_kept(stage);
}

/// Lets a collector die at each request behind G1 in turn, then others upload `contents` and collect.
fn assert_a_collector_may_die(contents: &[u8], stage: impl Fn() -> Stage) {
    for survived in 0.. {
        let mut stage = stage();
        let mut made = 0;
        let director: Director = Box::new(move |waiting, _| {
            let is_behind_g1 = made > 0 || waiting[0].label.starts_with("create gen");
            made += u32::from(is_behind_g1);
            Choice::Go(0, if made == survived + 1 { Fate::Crash } else { Fate::Done })
        });
        stage.play(vec![collect(false)], director);
        let died = stage.had_a_crash();
        stage.alone(|client| client.upload("w", contents, PACKS, None)).unwrap();
        assert_kept(stage);
        if !died {
            assert!(survived > 20, "only {survived} requests behind G1");
            break;
        }
    }
}

#[test]
fn trace_e_a_collector_dies_between_its_last_steps() {
    assert_a_collector_may_die(&[2], || stage(true));
}

#[test]
fn a_collector_that_keeps_a_large_index_dies_between_its_last_steps() {
    // Too little for the index to be made anew.
    assert_a_collector_may_die(&[1, 4], || {
        Stage::new(true, |client| {
            client.upload("large", &[1, 3, 4, 5, 6, 7, 1, 3, 4], PACKS, None).unwrap();
            client.upload("large-too", &[5, 6, 7, 1], PACKS, None).unwrap();
            client.collect(false).unwrap();
            // One entry more than the index has, by a session whose run is merged.
            client.upload("small", &[1, 3], PACKS, None).unwrap();
        })
    });
}

#[test]
fn what_a_pack_held_is_forgotten_though_an_index_object_of_its_session_stays() {
    let mut stage = Stage::new(true, |client| {
        let gone = client.upload("gone", &[2, 3, 4], MIXED, None).unwrap();
        // Shares with it what lies in the index object, or else in a pack.
        client.upload("live", &[2], PACKS, None).unwrap();
        client.delete(&gone).unwrap();
        client.collect(false).unwrap();
        client.upload("again", &[4, 3], PACKS, None).unwrap();
    });
    for contents in [&[3, 4][..], &[4], &[2, 3, 4]] {
        stage.alone(|client| client.upload("w", contents, MIXED, None)).unwrap();
        stage.alone(Client::check);
    }
    assert_kept(stage);
}

#[test]
fn a_run_that_is_published_while_a_collector_lists_names_nothing_that_is_gone() {
    // A slow writer was fenced, and its packs are candidates.
    let mut stage = stage(true);
    let acts = vec![upload(&[3]), collect(true), collect(false), upload(&[3])];
    follow(
        &mut stage,
        acts,
        &[
            Until(0, "create index"),
            Until(3, "create session"),
            Finish(1),
            // Behind its listing of the index, before that of what ended.
            Until(2, "list session"),
            Finish(0),
            Finish(2),
            Finish(3),
        ],
    );
    assert_kept(stage);
}

#[test]
fn a_run_that_is_published_before_a_generation_is_counted_when_somebody_took_it() {
    for late in [false, true] {
        let mut stage = stage(true);
        let finish: Act<'_> = Box::new(|client| {
            let end = client.collect(false).unwrap();
            assert_eq!(end, CollectionEnd::Finished);
        });
        let acts = vec![upload(&[3]), collect(true), finish, upload(&[3])];
        let published = if late { Arrive } else { Make(0, Fate::Done) };
        follow(
            &mut stage,
            acts,
            &[
                Until(0, "create index"),
                Finish(1),
                // Behind its look at the index.
                Until(2, "create gen"),
                if late { Make(0, Fate::Delayed) } else { Until(0, "create index") },
                published,
                // Finds the blocks by that run, and commits before G4.
                Until(3, "create outcome"),
                Until(2, "list session"),
                Finish(3),
                Finish(2),
            ],
        );
        assert_kept(stage);
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
    follow(
        &mut stage,
        acts,
        &[
            Until(0, "create gen"),
            Until(0, "list session"),
            Until(0, "list outcome"),
            Until(1, "create outcome"),
            Finish(0),
            Finish(2),
        ],
    );
    assert_kept(stage);
}

#[test]
fn trace_g_a_listing_misses_the_generation_that_goes_and_the_one_that_comes() {
    let mut stage = stage(true);
    // The first collector leaves its generation, the second takes its place.
    let acts = vec![collect(false), upload(&[2]), collect(false)];
    follow(
        &mut stage,
        acts,
        &[
            Until(0, "delete pack"),
            Until(2, "delete pack"),
            Until(1, "list gen "),
            Make(1, Fate::Done),
            Until(2, "delete session"),
            Make(1, Fate::Done),
            Until(1, "create pack"),
        ],
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
    follow(&mut stage, acts, &[Until(0, "get index"), Finish(1), Finish(2)]);
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

/// How many packs there are.
fn packs(stage: &mut Stage) -> usize {
    stage.alone(|client| {
        let mut packs = 0;
        let store = client.world.store(client.actor);
        store
            .list("domain/", &mut |entry| {
                packs += usize::from(entry.key.contains("/pack/"));
                ControlFlow::Continue(())
            })
            .unwrap();
        packs
    })
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
fn a_run_that_is_merged_while_a_reader_lists_the_index_is_found_by_another_look() {
    let mut stage = stage(true);
    let read = |client: &Client| {
        let backups = client.backups().unwrap();
        let begun = client.ledger.lock().unwrap().begun.clone();
        let live = backups.iter().find(|backup| begun[&backup.id] == [1]).unwrap();
        client.read(live);
    };
    let acts = vec![Box::new(read) as Act<'_>, collect(false)];
    follow(
        &mut stage,
        acts,
        &[
            // Behind both of its listings of generations.
            Until(0, "create reader"),
            Until(1, "list reader"),
            Until(0, "list index"),
            Finish(1),
            Until(0, "get pack"),
        ],
    );
    assert!(stage.take_seen().contains("read"));
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
fn what_a_reader_has_chosen_to_read_from_stays_though_it_was_repacked() {
    let mut stage = Stage::new(true, |client| {
        client.upload("a", &[1, 2], PACKS, None).unwrap();
        client.upload("b", &[3], PACKS, None).unwrap();
    });
    let read = |client: &Client| {
        let backups = client.backups().unwrap();
        client.read(&backups[0]);
        client.read(&backups[1]);
    };
    let repack: Act<'_> = Box::new(|client| drop(client.repack(false)));
    let acts = vec![Box::new(read) as Act<'_>, repack];
    // Opened, and the root of its tree located.
    follow(&mut stage, acts, &[Until(0, "get index"), Until(0, "get pack"), Finish(1), Finish(0)]);
    let seen = stage.take_seen();
    assert!(seen.contains("repacked") && seen.contains("read"), "{seen:?}");
    assert_kept(stage);
}

#[test]
fn a_reader_without_a_mark_finds_what_was_repacked() {
    // About to read what it has located: the root of a tree, then a block.
    let root = [Until(0, "get index"), Until(0, "get pack")];
    let block = [root.as_slice(), &[Make(0, Fate::Done), Until(0, "get pack")]].concat();
    for located in [root.as_slice(), &block] {
        let mut stage = Stage::new(true, |client| {
            client.upload("a", &[1, 2], PACKS, None).unwrap();
            client.upload("b", &[3], PACKS, None).unwrap();
        });
        let read = |client: &Client| {
            for backup in client.backups().unwrap() {
                client.read_unmarked(&backup);
            }
        };
        let repack: Act<'_> = Box::new(|client| drop(client.repack(false)));
        let steps = [located, &[Finish(1), Finish(0)]].concat();
        follow(&mut stage, vec![Box::new(read) as Act<'_>, repack], &steps);
        let seen = stage.take_seen();
        assert!(seen.contains("deleted") && seen.contains("read unmarked"), "{seen:?}");
        assert_kept(stage);
    }
}

#[test]
fn maintenance_beside_a_verification_is_no_damage() {
    let verify = |is_marked| -> Act<'static> {
        Box::new(move |client| {
            for backup in client.backups().unwrap() {
                client.verify(&backup, is_marked);
            }
        })
    };
    for is_marked in [true, false] {
        let stage = || {
            Stage::new(true, |client| {
                client.upload("a", &[1, 2], PACKS, None).unwrap();
                client.upload("b", &[3], PACKS, None).unwrap();
            })
        };
        let mut alone = stage();
        follow(&mut alone, vec![verify(is_marked)], &[]);
        for requests in 0..alone.requests() {
            let mut stage = stage();
            let repack: Act<'_> = Box::new(|client| drop(client.repack(false)));
            let before = vec![Make(0, Fate::Done); requests];
            let steps = [before.as_slice(), &[Finish(1), Finish(0)]].concat();
            follow(&mut stage, vec![verify(is_marked), repack], &steps);
            let seen = stage.take_seen();
            assert!(seen.contains("repacked") && seen.contains("verified"), "{seen:?}");
            assert_kept(stage);
        }
    }
}

#[test]
fn a_repacking_that_died_keeps_nobody_waiting() {
    for is_atomic in [false, true] {
        let mut stage = Stage::new(is_atomic, |client| {
            client.upload("a", &[1, 2], PACKS, None).unwrap();
            client.upload("b", &[3], PACKS, None).unwrap();
        });
        let repack: Act<'_> = Box::new(|client| drop(client.repack(false)));
        follow(&mut stage, vec![repack], &[Until(0, "create pack"), Make(0, Fate::Crash)]);
        assert!(stage.had_a_crash());
        let end = stage.alone(|client| client.collect(false)).unwrap();
        assert_eq!(end, CollectionEnd::Finished, "atomic: {is_atomic}");
        let open = stage.alone(|client| client.repository.sessions()).unwrap();
        assert!(open.is_empty(), "{open:?}");
        assert_kept(stage);
    }
}

#[test]
fn a_holder_that_is_gone_and_that_a_slow_collector_names_is_not_counted_on() {
    let mut stage = Stage::new(true, |client| {
        client.upload("live", &[1], PACKS, None).unwrap();
        client.upload("later", &[2], PACKS, None).unwrap();
    });
    let acts = vec![
        collect(false),
        delete_newest(),
        collect(false),
        upload(&[2]),
        delete_newest(),
        upload(&[2]),
        collect(false),
    ];
    follow(
        &mut stage,
        acts,
        &[
            // Its index names what the second one deletes, and what nobody condemns once it is gone.
            Until(0, "create compacted"),
            Finish(1),
            Finish(2),
            Finish(0),
            // The blocks lie elsewhere, too, are garbage there at G1 and live by G4.
            Finish(3),
            Finish(4),
            Until(5, "create outcome"),
            Until(6, "create gen"),
            Finish(5),
            Finish(6),
        ],
    );
    assert_kept(stage);
}

#[test]
fn a_pack_that_arrives_again_is_not_kept_in_place_of_another() {
    let mut stage = Stage::new(true, |client| {
        client.upload("live", &[1], PACKS, None).unwrap();
    });
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
    let mut stage = Stage::new(true, |client| {
        client.upload("live", &[1], PACKS, None).unwrap();
    });
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

/// A slow writer's packs are gone, and its run came behind the look at the index. The generations that say
/// so go while `last` lists them, and the one that takes their place comes. Another has `live`.
fn with_a_listing_that_misses_all(live: &[u8], last: Act<'_>) -> Stage {
    let mut stage = stage(true);
    let acts = vec![upload(&[3]), upload(live), collect(true), collect(false), last];
    follow(
        &mut stage,
        acts,
        &[
            Until(0, "create index"),
            Finish(1),
            Finish(2),
            Until(3, "create gen"),
            Finish(0),
            Until(3, "delete pack"),
            Until(4, "list gen "),
            Make(4, Fate::Done),
            Until(3, "list compacted"),
            Make(4, Fate::Done),
            Finish(4),
        ],
    );
    stage
}

#[test]
fn trace_g_with_a_run_that_came_late() {
    assert_kept(with_a_listing_that_misses_all(&[3, 4], upload(&[3])));
}

#[test]
fn trace_g_with_a_run_that_came_late_and_a_reader() {
    let read: Act<'_> = Box::new(|client| client.read(&of(client, &[3])));
    let stage = with_a_listing_that_misses_all(&[3], read);
    assert!(stage.take_seen().contains("read"));
    assert_kept(stage);
}

/// All orders of what is left of three actors' stretches.
fn orders(left: [usize; 3]) -> Vec<Vec<usize>> {
    if left == [0; 3] {
        return vec![Vec::new()];
    }
    let ending_with = |last: usize| {
        let mut before = left;
        before[last] -= 1;
        orders(before).into_iter().map(move |order| [order, vec![last + 1]].concat())
    };
    (0..3).filter(|last| left[*last] > 0).flat_map(ending_with).collect()
}

#[test]
fn of_a_blob_held_twice_one_holder_stays_whatever_three_collectors_do() {
    let mut seen = BTreeSet::new();
    for (order, number) in orders([2, 3, 3]).iter().zip(0..) {
        let mut stage = held_twice();
        stage.coin = (number % 2 == 1).then_some(number);
        let delete: Act<'_> = Box::new(|client| drop(client.delete(&of(client, &[2, 3, 5]))));
        let acts = vec![delete, collect(false), collect(false), collect(false)];
        // The first one would keep the holder that the deletion makes the worse one.
        let mut steps = vec![Until(1, "create gen"), Finish(0)];
        let mut stretches = [0, 1, 0, 0];
        for &actor in order {
            steps.push(match stretches[actor] {
                0 => Until(actor, "create gen"),
                1 => Until(actor, "delete pack"),
                _ => Finish(actor),
            });
            stretches[actor] += 1;
        }
        // Some stop early.
        try_to_follow(&mut stage, acts, &steps);
        seen.extend(stage.take_seen());
        assert_kept(stage);
    }
    assert!(["deleted", "contended"].iter().all(|it| seen.contains(it)), "{seen:?}");
}

/// Content 2 lies in two packs, of which one has lost half of what it held. The other one loses more
/// with its backup.
fn held_twice() -> Stage {
    let mut stage = Stage::new(true, |_| {});
    let first: Act<'_> = Box::new(|client| drop(client.upload("a", &[2, 4], PACKS, None)));
    let second: Act<'_> = Box::new(|client| drop(client.upload("b", &[2, 3, 5], PACKS, None)));
    follow(&mut stage, vec![first, second], &[Until(0, "create pack"), Finish(1)]);
    stage.alone(|client| {
        client.upload("c", &[2], PACKS, None).unwrap();
        client.delete(&of(client, &[2, 4])).unwrap();
    });
    stage
}

#[test]
fn two_collectors_do_not_take_a_holder_each_though_listings_miss_one_of_them() {
    // In one listing of the second collector the first one finishes, in a later one a third does all.
    for (first, second) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
        for coin in 0..32 {
            let mut stage = held_twice();
            stage.coin = Some(coin);
            let delete: Act<'_> = Box::new(|client| drop(client.delete(&of(client, &[2, 3, 5]))));
            let acts = vec![delete, collect(false), collect(false), collect(false)];
            let mut steps = vec![
                Until(1, "create gen"),
                Finish(0),
                Until(2, "create gen"),
                Until(1, "delete pack"),
                Make(2, Fate::Done),
            ];
            for listing in 0..4 {
                steps.extend([Until(2, "list gen "), Make(2, Fate::Done)]);
                steps.extend((listing == first).then_some(Until(1, "list compacted")));
                steps.extend((listing == second).then_some(Finish(3)));
                steps.push(Make(2, Fate::Done));
            }
            // The second one stops somewhere.
            let missed = try_to_follow(&mut stage, acts, &steps);
            assert!(
                missed.iter().all(|step| matches!(step, Until(2, _) | Make(2, _))),
                "{missed:?}"
            );
            assert_kept(stage);
        }
    }
}

#[test]
fn what_a_slow_collector_is_about_to_delete_stays_condemned_though_another_spares_it() {
    let mut stage = stage(true);
    let read: Act<'_> = Box::new(|client| client.read(&of(client, &[2, 5])));
    let delete: Act<'_> = Box::new(|client| drop(client.delete(&of(client, &[2, 5]))));
    let (store, use_it) = (upload(&[2, 5]), upload(&[2]));
    let acts = vec![collect(false), store, read, collect(false), use_it, delete, collect(false)];
    follow(
        &mut stage,
        acts,
        &[
            Until(0, "delete pack"),
            // Stores the block once more, and is read: all its holders are spared.
            Finish(1),
            Until(2, "create reader"),
            Until(2, "get pack"),
            Finish(3),
            Finish(2),
            Finish(4),
            // Of the other holder half is dead: nobody would choose it if there were a choice.
            Finish(5),
            Finish(6),
            Finish(0),
        ],
    );
    assert_kept(stage);
}

#[test]
fn what_is_condemned_goes_though_another_holder_has_lost_more() {
    let mut stage = stage(true);
    let steps = [Until(0, "create gen"), Until(0, "list session"), Make(0, Fate::Crash)];
    follow(&mut stage, vec![collect(false)], &steps);
    stage.alone(|client| {
        let other = client.upload("other", &[2, 5], PACKS, None).unwrap();
        client.upload("w", &[2], PACKS, None).unwrap();
        client.delete(&other).unwrap();
        client.collect(false).unwrap();
    });
    // Of blocks and of nodes, for each of the two that are live.
    assert_eq!(packs(&mut stage), 4);
    assert_kept(stage);
}

#[test]
fn a_deleted_backup_is_nobodys_base_though_its_outcome_stands() {
    let mut stage = base_stage();
    let acts = vec![upload_on_base(&[2]), delete_newest(), collect(false)];
    follow(
        &mut stage,
        acts,
        &[
            // Has listed it.
            Until(0, "create session"),
            Finish(1),
            Until(2, "delete pack"),
            Finish(0),
            Finish(2),
        ],
    );
    assert_kept(stage);
}

#[test]
fn a_deleted_backup_looks_live_to_nobody_while_its_outcome_and_tomb_go() {
    let read: Act<'_> = Box::new(|client| client.read(&newest(client)));
    for (act, begin) in [(upload_on_base(&[2]), "create session"), (read, "create reader")] {
        let mut stage = base_stage();
        let acts = vec![act, delete_newest(), collect(false)];
        follow(
            &mut stage,
            acts,
            &[
                Until(0, begin),
                Finish(1),
                // Behind its listing of readers.
                Until(2, "delete pack"),
                Until(0, "list index"),
                Make(0, Fate::Done),
                Make(0, Fate::Done),
                // It looks for the one, and then for the other if need be.
                Make(0, Fate::Done),
                Finish(2),
                Finish(0),
            ],
        );
        assert_kept(stage);
    }
}

fn base_stage() -> Stage {
    Stage::new(true, |client| {
        client.upload("live", &[1], PACKS, None).unwrap();
        client.upload("base", &[2], PACKS, None).unwrap();
    })
}

/// So many backups of a volume that there is a digest, and the one of content 2 is deleted.
fn digested_stage() -> Stage {
    Stage::new(true, |client| {
        for _ in 0..20 {
            client.upload("v", &[1], PACKS, None).unwrap();
        }
        client.upload("v", &[2], PACKS, None).unwrap();
        client.collect(false).unwrap();
        client.delete(&newest(client)).unwrap();
    })
}

#[test]
fn a_deleted_backup_is_not_listed_by_what_a_digest_says_of_it() {
    for between in ["list retention", "list outcome"] {
        let mut stage = digested_stage();
        let list: Act<'_> = Box::new(|client| {
            let listed = client.backups().unwrap();
            let deleted = client.ledger.lock().unwrap().deleted.clone();
            assert!(listed.iter().all(|backup| !deleted.contains(&backup.id)));
        });
        follow(
            &mut stage,
            vec![collect(false), list],
            &[Until(0, "delete outcome"), Until(1, between), Until(0, "list outcome")],
        );
        assert_kept(stage);
    }
}

#[test]
fn a_deleted_backup_does_not_block_collection_by_what_a_digest_says_of_it() {
    for between in ["list retention", "list outcome"] {
        let mut stage = digested_stage();
        let finish: Act<'_> = Box::new(|client| drop(client.collect(false).unwrap()));
        let acts = vec![collect(false), upload(&[3]), finish];
        follow(
            &mut stage,
            acts,
            &[
                Until(0, "delete outcome"),
                Finish(1),
                Until(2, between),
                Until(0, "list outcome"),
                Finish(2),
            ],
        );
        assert_kept(stage);
    }
}
