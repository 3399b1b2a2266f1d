//! Jobs killed at every point and at random moments: after the next start the host is as it was, and
//! every listed backup is whole.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use thinmover_tests::fixtures::{HostState, MIB, lvm, rounds};
use thinmover_tests::loop_devices::KILLS;

use crate::crash::{KILLED, all_points, points};
use crate::job::Host;

/// More than fits beside the index of an upload, so that it makes a pack.
const NEW_BYTES: u64 = 8 * MIB;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("a_killed_upload_leaves_nothing", upload).with_kind(KILLS),
        Trial::test("a_killed_download_to_a_new_volume_leaves_all_of_it_or_nothing", new_volume)
            .with_kind(KILLS),
        Trial::test("an_upload_killed_at_random_leaves_nothing", random),
    ];
    if rounds(1) > 1 {
        trials.extend([
            Trial::test("an_upload_killed_around_its_base_leaves_a_sound_one_or_none", based)
                .with_kind(KILLS),
            Trial::test("a_killed_download_leaves_no_activation", activation).with_kind(KILLS),
        ]);
    }
    trials
}

fn upload() -> Result<(), Failed> {
    let host = Host::with_ext4();
    // One worker, and each time as much that is new: the same points each time, a pack's among them.
    host.thinmover.configure("[data_path]\nworkers = 1\n");
    host.write_file("file", NEW_BYTES);
    // The same way each time, whatever the one before left.
    let words = ["backup", "create", &host.data.name, "--parent", "none"];
    let before = HostState::now();
    let log = log_of(&host, &words);
    let points = points(&log);
    for word in ["record:", "lvm:lvcreate", "dm:release", "lvm:lvremove", "store:"] {
        assert!(points.iter().any(|point| point.starts_with(word)), "no {word} in {points:?}");
    }
    let unrecorded = while_unrecorded(&log);
    let mut listed = host.listed().len();
    for point in &points {
        host.write_file("file", NEW_BYTES);
        kill(&host, point, &words);
        host.recover();
        let difference = before.difference(&HostState::now());
        if unrecorded.contains(point) {
            // Whose it is cannot be told, so it stays until the operator lets go of it.
            assert!(difference.starts_with("+ held metadata"), "killed at {point}:\n{difference}");
            assert_eq!(difference.lines().count(), 1, "killed at {point}:\n{difference}");
            host.pool.message("release_metadata_snap");
            host.recover();
            before.assert_unchanged();
        } else {
            assert!(difference.is_empty(), "killed at {point}:\n{difference}");
        }
        assert_eq!(host.thinmover.records(), [""; 0], "killed at {point}");
        let now = host.listed();
        assert!((listed..=listed + 1).contains(&now.len()), "killed at {point}: {now:?}");
        for id in &now[listed..] {
            host.run(0, &["backup", "verify", id]);
        }
        listed = now.len();
    }
    host.verify_all();
    Ok(())
}

/// Where the base is looked at, and where the next one is noted.
fn based() -> Result<(), Failed> {
    let host = Host::with_ext4();
    host.write_file("file", NEW_BYTES);
    let words = ["backup", "create", &host.data.name];
    host.run(0, &words);
    let before = HostState::now();
    let log = log_of(&host, &words);
    let unrecorded = while_unrecorded(&log);
    let around = ["dm:", "lvm:retag", "file:replace"];
    let is_around = |point: &&String| around.iter().any(|word| point.starts_with(word));
    for point in all_points(&log).iter().filter(is_around) {
        host.write_file("file", MIB);
        // A sound base, so that the same points are passed.
        host.run(0, &words);
        kill(&host, point, &words);
        host.recover();
        if unrecorded.contains(point) {
            host.pool.message("release_metadata_snap");
            host.recover();
        }
        let difference = before.difference(&HostState::now());
        assert!(difference.is_empty(), "killed at {point}:\n{difference}");
        host.run(0, &words);
    }
    host.verify_all();
    Ok(())
}

fn new_volume() -> Result<(), Failed> {
    let host = Host::with_ext4();
    host.write_file("file", 4 * MIB);
    let backup = host.back_up();
    let (name, pool) = (format!("{}/made", host.pool.group), host.pool.name());
    let words = ["restore", &backup, &name, "--create", &pool];
    let before = HostState::now();
    let points = passed(&host, &words);
    let remove = || lvm(&format!("lvremove --quiet -f {name}"));
    remove();
    let mut kept = 0;
    for point in &points {
        kill(&host, point, &words);
        host.recover();
        let difference = before.difference(&HostState::now());
        if !difference.is_empty() {
            // Whole: finished but for its record.
            assert!(host.pool.existing("made").tags().is_empty(), "{point}:\n{difference}");
            kept += 1;
            remove();
            before.assert_unchanged();
        }
    }
    assert!(kept > 0 && kept < points.len(), "{kept} of {points:?}");
    Ok(())
}

fn activation() -> Result<(), Failed> {
    let host = Host::with_ext4();
    host.write_file("file", 4 * MIB);
    let backup = host.back_up();
    let target = host.other("target");
    lvm(&format!("lvchange --setautoactivation n {}", target.name));
    lvm(&format!("lvchange -an {}", target.name));
    let words = ["restore", &backup, &target.name, "--yes"];
    let before = HostState::now();
    for point in &passed(&host, &words) {
        kill(&host, point, &words);
        host.recover();
        let difference = before.difference(&HostState::now());
        assert!(difference.is_empty(), "killed at {point}:\n{difference}");
    }
    Ok(())
}

fn random() -> Result<(), Failed> {
    let host = Host::with_ext4();
    host.write_file("file", 16 * MIB);
    let before = HostState::now();
    let begun = Instant::now();
    host.back_up();
    let takes = begun.elapsed();
    for round in 0..rounds(6) {
        host.write_file("file", MIB);
        let mut job = host.spawn(&["backup", "create", &host.data.name, "--json"]);
        std::thread::sleep(at_random(takes));
        let killed = job.kill();
        job.wait()?;
        killed?;
        host.recover();
        host.pool.release_unrecorded(&host.thinmover.state_folder());
        let difference = before.difference(&HostState::now());
        assert!(difference.is_empty(), "round {round}:\n{difference}");
    }
    host.verify_all();
    Ok(())
}

fn at_random(longest: Duration) -> Duration {
    let byte = fs::File::open("/dev/urandom")
        .and_then(|mut file| {
            let mut byte = [0];
            std::io::Read::read_exact(&mut file, &mut byte).map(|()| byte[0])
        })
        .unwrap();
    longest * u32::from(byte) / 256
}

/// The crash points at which a pool holds a metadata snapshot and the record says only that one was
/// asked for.
fn while_unrecorded(log: &str) -> Vec<String> {
    let mut is_unrecorded = false;
    let mut points = all_points(log);
    points.retain(|point| {
        is_unrecorded |= point.starts_with("dm:reserve_metadata_snap:after");
        is_unrecorded &= !point.starts_with("record:write:after");
        is_unrecorded
    });
    assert!(!points.is_empty(), "no metadata snapshot in {log}");
    points
}

/// The crash points that a job passes which is left alone.
fn passed(host: &Host, words: &[&str]) -> Vec<String> {
    points(&log_of(host, words))
}

/// The log of a job that is left alone.
fn log_of(host: &Host, words: &[&str]) -> String {
    let log = tempfile::NamedTempFile::new().unwrap();
    host.thinmover.run_logging_crash_points(log.path(), &host.job(words)).expect_status(0);
    fs::read_to_string(log.path()).unwrap()
}

fn kill(host: &Host, point: &str, words: &[&str]) {
    host.thinmover.run_killed_at(point, &host.job(words)).expect_status(KILLED);
}
