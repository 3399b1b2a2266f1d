//! Uploads, and the bases they build on, beside collections.

use super::*;

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

fn base_stage() -> Stage {
    Stage::new(true, |client| {
        client.upload("live", &[1], PACKS, None).unwrap();
        client.upload("base", &[2], PACKS, None).unwrap();
    })
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
