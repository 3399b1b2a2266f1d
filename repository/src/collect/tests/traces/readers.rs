//! Restores, verifications and listings beside collections.

use super::*;

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
