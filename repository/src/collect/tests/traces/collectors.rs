//! Collections beside each other, and collectors that die.

use std::collections::BTreeSet;

use super::*;

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
fn a_run_that_another_collector_is_about_to_name_stays() {
    // What an upload published behind the first one's look stands in the second one's run only.
    let (slow, quick) = (Until(0, "create compacted"), Until(2, "create compacted"));
    let made = [quick, Make(2, Fate::Done), Finish(0), Finish(2)];
    let begun_before = [slow, Finish(1)];
    // Behind its listing of runs and its look at the generations.
    let [listed, looked] = [Until(0, "list compacted"), Until(0, "list index")];
    let twice = [Make(0, Fate::Done); 2];
    let begun_behind = [&[slow, listed], &twice[..], &[looked], &twice, &[Finish(1)]].concat();
    for begun in [&begun_before[..], &begun_behind] {
        let mut stage = stage(true);
        let acts = vec![collect(false), upload(&[3]), collect(false)];
        follow(&mut stage, acts, &[begun, &made].concat());
        assert_kept(stage);
    }
}
