//! What must be refused is refused before anything is created: exit status 4, a message that says
//! why, and the host as it was.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use thinmover_tests::fixtures::{
    Finished, HostState, MIB, ThinPool, ThinPoolLayout, Thinmover, lvm, run,
};

/// Refused: a guard, busy, ambiguous, or the wrong kind.
const REFUSED: i32 = 4;
const USAGE: i32 = 2;
const NOT_FOUND: i32 = 3;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("a_pool_past_its_data_limit_takes_no_snapshot", full_pool),
        Trial::test("a_pool_that_is_out_of_space_takes_no_snapshot", filled_pool),
        Trial::test("a_group_of_another_host_is_left_alone", foreign_group),
        Trial::test("an_exported_group_is_left_alone", exported_group),
        Trial::test("a_partial_group_is_left_alone", partial_group),
        Trial::test("a_volume_being_merged_takes_no_snapshot", merging_volume),
        Trial::test("thick_volumes_pools_and_nothing_take_no_snapshot", wrong_kinds),
        Trial::test("names_that_lvm_would_not_take_are_refused", bad_names),
        Trial::test("a_snapshot_whose_tag_is_gone_is_not_deleted", stolen_tag),
        Trial::test("a_mounted_snapshot_is_not_deleted", mounted_snapshot),
        Trial::test("what_is_mounted_over_a_snapshot_is_not_unmounted", mounted_over),
    ]
}

fn small() -> ThinPoolLayout {
    ThinPoolLayout { disk_bytes: 256 * MIB, data_bytes: 64 * MIB, ..ThinPoolLayout::default() }
}

/// Runs a command that must be refused with `status` and a message that contains `word`, and that
/// must leave the host as it is.
#[track_caller]
fn refused(thinmover: &Thinmover, status: i32, word: &str, words: &[&str]) {
    let before = HostState::now();
    let words: Vec<&str> = words.iter().copied().chain(["--standalone"]).collect();
    let finished = thinmover.run(&words).expect_status(status);
    assert!(finished.stderr.contains(word), "no {word:?} in {}", finished.stderr);
    before.assert_unchanged();
}

#[track_caller]
fn done(thinmover: &Thinmover, words: &[&str]) -> Finished {
    let words: Vec<&str> = words.iter().copied().chain(["--standalone"]).collect();
    thinmover.run(&words).expect_status(0)
}

/// Writes the first `bytes` of the device.
fn fill(path: &std::path::Path, bytes: u64) {
    let device = File::options().write(true).open(path).unwrap();
    let block = [7; 1 << 16];
    // Until the pool is full, where it is smaller.
    let _ =
        (0..bytes).step_by(block.len()).try_for_each(|offset| device.write_all_at(&block, offset));
    let _ = device.sync_all();
}

fn full_pool() -> Result<(), Failed> {
    let pool = ThinPool::with_layout(small());
    let volume = pool.volume("data", 64 * MIB);
    fill(&volume.path, 60 * MIB);
    refused(
        &Thinmover::new(),
        REFUSED,
        "of its data is in use",
        &["snapshot", "create", &volume.name],
    );
    Ok(())
}

fn filled_pool() -> Result<(), Failed> {
    let pool = ThinPool::with_layout(small());
    lvm(&format!("lvchange --quiet --errorwhenfull y {}", pool.name()));
    let volume = pool.volume("data", 128 * MIB);
    fill(&volume.path, 128 * MIB);
    refused(
        &Thinmover::new(),
        REFUSED,
        "no free data space",
        &["snapshot", "create", &volume.name],
    );
    Ok(())
}

fn foreign_group() -> Result<(), Failed> {
    let pool = ThinPool::with_layout(small());
    let volume = pool.volume("data", 64 * MIB);
    lvm(&format!("vgchange --quiet -y -an {}", pool.group));
    lvm(&format!("vgchange --quiet -y --systemid another-host {}", pool.group));
    let words = ["snapshot", "create", &volume.name];
    refused(&Thinmover::new(), REFUSED, "another-host", &words);
    // As that host would: it gives the group back to anybody.
    let as_owner = "global/system_id_source=lvmlocal local/system_id=another-host";
    run("vgchange", &["--quiet", "-y", "--config", as_owner, "--systemid", "", &pool.group]);
    Ok(())
}

fn exported_group() -> Result<(), Failed> {
    let pool = ThinPool::with_layout(small());
    let volume = pool.volume("data", 64 * MIB);
    lvm(&format!("vgchange --quiet -y -an {}", pool.group));
    lvm(&format!("vgexport --quiet {}", pool.group));
    let words = ["snapshot", "create", &volume.name];
    refused(&Thinmover::new(), REFUSED, "is exported", &words);
    lvm(&format!("vgimport --quiet {}", pool.group));
    Ok(())
}

fn partial_group() -> Result<(), Failed> {
    let mut pool = ThinPool::with_layout(small());
    let volume = pool.volume("data", 64 * MIB);
    let disk = pool.add_disk(64 * MIB);
    let file = run("losetup", &["--noheadings", "--output", "BACK-FILE", &disk]);
    run("losetup", &["--detach", &disk]);
    refused(&Thinmover::new(), REFUSED, "is partial", &["snapshot", "create", &volume.name]);
    run("losetup", &[disk.as_str(), file.trim()]);
    Ok(())
}

fn merging_volume() -> Result<(), Failed> {
    let pool = ThinPool::with_layout(small());
    let volume = pool.volume("data", 64 * MIB);
    lvm(&format!("lvcreate --quiet -s -kn -n old {}", volume.name));
    let open = File::open(&volume.path)?;
    lvm(&format!("lvconvert --quiet -y --merge {}/old", pool.group));
    let words = ["snapshot", "create", &volume.name];
    refused(&Thinmover::new(), REFUSED, "merged", &words);
    drop(open);
    Ok(())
}

fn wrong_kinds() -> Result<(), Failed> {
    let pool = ThinPool::with_layout(small());
    let thick = pool.thick_volume("thick", 16 * MIB);
    let thinmover = Thinmover::new();
    fn create(what: &str) -> [&str; 3] {
        ["snapshot", "create", what]
    }
    refused(&thinmover, REFUSED, "no thin volume", &create(&thick.name));
    refused(&thinmover, REFUSED, "thin pool", &create(&pool.name()));
    let inside = format!("/dev/mapper/{}-pool_tmeta", pool.group.replace('-', "--"));
    refused(&thinmover, REFUSED, "part of an LVM volume", &create(&inside));
    refused(&thinmover, NOT_FOUND, "not found", &create(&format!("{}/none", pool.group)));
    Ok(())
}

fn bad_names() -> Result<(), Failed> {
    let pool = ThinPool::with_layout(small());
    let volume = pool.volume("data", 64 * MIB);
    let thinmover = Thinmover::new();
    for name in ["pvmove1", "snapshot1", "a_tmeta", "a b", "..", "a/b"] {
        let words = ["snapshot", "create", &volume.name, "--name", name];
        refused(&thinmover, USAGE, "cannot be used", &words);
    }
    let words = ["snapshot", "create", &volume.name, "--name", "data"];
    refused(&thinmover, REFUSED, "exists already", &words);
    Ok(())
}

fn stolen_tag() -> Result<(), Failed> {
    let pool = ThinPool::with_layout(small());
    let volume = pool.volume("data", 64 * MIB);
    let thinmover = Thinmover::new();
    done(&thinmover, &["snapshot", "create", &volume.name, "--name", "kept"]);
    let snapshot = pool.existing("kept");
    for tag in snapshot.tags() {
        lvm(&format!("lvchange --quiet --deltag {tag} {}", snapshot.name));
    }
    let before = HostState::now();
    let words = ["snapshot", "delete", &snapshot.name, "--standalone"];
    thinmover.run(&words).expect_status(NOT_FOUND);
    // Recovery, with which this begins, leaves it alone too.
    thinmover.run(&["snapshot", "create", "no-such-volume", "--standalone"]).expect_status(3);
    before.assert_unchanged();
    Ok(())
}

fn mounted_snapshot() -> Result<(), Failed> {
    let pool = ThinPool::new();
    let volume = pool.volume("data", 512 * MIB);
    let _mounted = volume.format_xfs().mount();
    let thinmover = Thinmover::new();
    let before = HostState::now();
    let name = format!("{}/kept", pool.group);
    done(&thinmover, &["snapshot", "create", &volume.name, "--name", "kept"]);
    done(&thinmover, &["snapshot", "mount", &name]);
    refused(&thinmover, REFUSED, "mount", &["snapshot", "delete", &name]);
    done(&thinmover, &["snapshot", "unmount", &name]);
    done(&thinmover, &["snapshot", "delete", &name]);
    before.assert_unchanged();
    Ok(())
}

fn mounted_over() -> Result<(), Failed> {
    let pool = ThinPool::new();
    let volume = pool.volume("data", 512 * MIB);
    let _mounted = volume.format_xfs().mount();
    let thinmover = Thinmover::new();
    let name = format!("{}/kept", pool.group);
    done(&thinmover, &["snapshot", "create", &volume.name, "--name", "kept"]);
    done(&thinmover, &["snapshot", "mount", &name]);
    let device = format!("/dev/mapper/{}-kept", pool.group.replace('-', "--"));
    let path = run("findmnt", &["--noheadings", "--output", "TARGET", &device]);
    run("mount", &["-t", "tmpfs", "none", path.trim()]);
    refused(&thinmover, REFUSED, "mount", &["snapshot", "unmount", &name]);
    Finished::of(Command::new("umount").arg(path.trim())).expect_status(0);
    done(&thinmover, &["snapshot", "unmount", &name]);
    Ok(())
}
