//! `pool.keep_base`: the snapshot of a backup stays as the base of the next one. What is read is the
//! same with it, without it, and where it is not what it was.
#![allow(clippy::unwrap_used)]

use std::fs;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use thinmover_tests::fixtures::{HostState, MIB, Thinmover, lvm, rounds};
use thinmover_tests::loop_devices::KILLS;

use crate::crash::{KILLED, points};
use crate::incremental::{CHUNK, HOLDS, Host, SIZE, discard, write_random};
use crate::job;

const KEPT: (&str, &str) = ("changed", "base-kept");
const ON: &str = "[pool]\nkeep_base = true\n";

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("with_a_kept_base_every_backup_is_what_the_volume_was", changes),
        Trial::test("a_kept_base_that_is_not_what_it_was_is_not_compared_with", lost),
    ];
    if rounds(1) > 1 {
        trials.extend([
            Trial::test("a_kept_base_goes_with_its_volume_or_when_none_is_wanted", unwanted),
            Trial::test("a_kept_base_outlives_snapshots_by_others_and_a_resize", resized),
            Trial::test("an_upload_killed_as_it_hands_over_its_base_leaves_one", killed)
                .with_kind(KILLS),
        ]);
    }
    trials
}

/// A host that keeps the base, after its first backup.
fn keeping() -> Host {
    let host = Host::new();
    host.thinmover.configure(ON);
    host.back_up(("allocated", "no-base"));
    host
}

/// The names of the snapshots that stay as a base.
fn bases(thinmover: &Thinmover) -> Vec<String> {
    let list = thinmover.json(0, &["snapshot", "list", "--standalone"]);
    let is_base = |snapshot: &&Value| snapshot["owner"] == "base";
    let found = list["snapshots"].as_array().unwrap().iter().filter(is_base);
    found.map(|snapshot| snapshot["name"].as_str().unwrap().to_owned()).collect()
}

/// The base, of which there must be one.
#[track_caller]
fn base(thinmover: &Thinmover) -> String {
    let bases = bases(thinmover);
    assert_eq!(bases.len(), 1, "{bases:?}");
    bases[0].clone()
}

fn changes() -> Result<(), Failed> {
    let host = keeping();
    let first = base(&host.thinmover);
    let fields =
        lvm(&format!("lvs --noheadings --separator | -o lv_active,lv_permissions {first}"));
    assert_eq!(fields.trim(), "|read-only");
    let report = host.back_up(KEPT);
    // 16 image blocks at most are read again though nothing changed.
    assert!(report["readBytes"].as_u64().unwrap() <= 4 * MIB, "{report}");
    assert_ne!(base(&host.thinmover), first);

    // In a chunk that is there, across two, new ones, at the very end, and a chunk that goes.
    host.write(5 * CHUNK + 512, 512);
    host.write(7 * CHUNK - 512, 1024);
    host.write(20 * MIB, 3 * CHUNK);
    host.write(SIZE - 512, 512);
    discard(&host.volume.path, 2 * MIB, MIB);
    let report = host.back_up(KEPT);
    assert!(report["readBytes"].as_u64().unwrap() <= 4 * MIB + 8 * 4 * CHUNK, "{report}");
    // What went comes back, in part.
    host.write(2 * MIB + CHUNK, CHUNK);
    host.back_up(KEPT);
    base(&host.thinmover);
    Ok(())
}

fn resized() -> Result<(), Failed> {
    let host = keeping();
    // As TopoLVM does, and others.
    lvm(&format!("lvcreate --quiet -s -kn -n other {}", host.volume.name));
    host.write(MIB, 512);
    host.resize(40 * MIB);
    host.write(36 * MIB, CHUNK);
    host.back_up(KEPT);
    lvm(&format!("lvremove --quiet -f {}/other", host.pool.group));
    host.resize(24 * MIB);
    host.write(20 * MIB, 512);
    host.back_up(KEPT);
    // What was cut off comes back with its old times.
    host.resize(40 * MIB);
    host.back_up(KEPT);
    Ok(())
}

fn lost() -> Result<(), Failed> {
    let host = keeping();
    let why = |report: &Value| report["warnings"][0].as_str().unwrap().to_owned();
    let in_place = || base(&host.thinmover);
    host.thinmover.json(0, &["snapshot", "delete", &in_place(), "--standalone"]);
    host.write(MIB, 512);
    let warning = why(&host.back_up_ending(5, &[], HOLDS));
    assert!(warning.contains("no longer in the pool"), "{warning}");

    // Written to, and then discarded from, behind our back.
    let tamper = |act: &dyn Fn(&std::path::Path)| {
        let name = in_place();
        lvm(&format!("lvchange --quiet -prw {name}"));
        lvm(&format!("lvchange --quiet -ay -K {name}"));
        act(&job::device(&name));
        lvm(&format!("lvchange --quiet -an {name}"));
        lvm(&format!("lvchange --quiet -pr {name}"));
    };
    tamper(&|device| write_random(device, 3 * MIB, 512));
    let warning = why(&host.back_up_ending(5, &[], HOLDS));
    assert!(warning.contains("was written to"), "{warning}");
    tamper(&|device| discard(device, 4 * MIB, MIB));
    discard(&host.volume.path, 4 * MIB, MIB);
    let warning = why(&host.back_up_ending(5, &[], HOLDS));
    assert!(warning.contains("and had"), "{warning}");
    host.back_up(KEPT);
    Ok(())
}

fn unwanted() -> Result<(), Failed> {
    let host = Host::new();
    let before = HostState::now();
    host.thinmover.configure(ON);
    host.back_up(("allocated", "no-base"));
    base(&host.thinmover);
    host.thinmover.configure("");
    host.write(MIB, 512);
    host.back_up(HOLDS);
    before.assert_unchanged();
    assert_eq!(host.thinmover.records(), [""; 0]);

    // The volume is removed by somebody else.
    host.thinmover.configure(ON);
    host.back_up(HOLDS);
    base(&host.thinmover);
    lvm(&format!("lvremove --quiet -f {}", host.volume.name));
    let nobodys = ["snapshot", "create", "no-such-volume", "--standalone"];
    host.thinmover.run(&nobodys).expect_status(3);
    assert_eq!(bases(&host.thinmover), [""; 0]);
    assert_eq!(host.thinmover.records(), [""; 0]);
    Ok(())
}

fn killed() -> Result<(), Failed> {
    let host = job::Host::with_ext4();
    host.thinmover.configure(ON);
    host.write_file("file", MIB);
    // The same way each time, whatever the one before left.
    let words = ["backup", "create", &host.data.name, "--parent", "none"];
    host.run(0, &words);
    let log = tempfile::NamedTempFile::new()?;
    host.thinmover.run_logging_crash_points(log.path(), &host.job(&words)).expect_status(0);
    let points = points(&fs::read_to_string(log.path())?);
    let committed = points.iter().rposition(|point| point.starts_with("store:")).unwrap();
    let points = &points[committed + 1..];
    for word in ["lvm:deactivate", "record:write", "file:replace", "lvm:retag", "lvm:lvremove"] {
        assert!(points.iter().any(|point| point.starts_with(word)), "no {word} in {points:?}");
    }
    let (mut before, mut was) = (HostState::now(), base(&host.thinmover));
    let (mut stayed, mut went) = (0, 0);
    for point in points {
        host.thinmover.run_killed_at(point, &host.job(&words)).expect_status(KILLED);
        host.recover();
        // One base, the old one or the new one, and nothing else.
        let now = base(&host.thinmover);
        assert_eq!(host.thinmover.records().len(), 1, "killed at {point}");
        let difference = before.difference(&HostState::now());
        if now == was {
            stayed += 1;
            assert_eq!(difference, "", "killed at {point}");
        } else {
            went += 1;
            let lines: Vec<_> = difference.lines().collect();
            let (gone, new) = (was.replace('/', "|"), now.replace('/', "|"));
            assert_eq!(lines.len(), 2, "killed at {point}:\n{difference}");
            assert!(lines[0].contains(&gone) && lines[1].contains(&new), "{point}:\n{difference}");
        }
        if !is_noted(&host) {
            host.run(0, &words);
        }
        (before, was) = (HostState::now(), base(&host.thinmover));
    }
    assert!(stayed > 0 && went > 0, "{stayed} stayed and {went} went");
    let report = host.run(0, &["backup", "create", &host.data.name]);
    assert_eq!((&report["tier"], &report["reason"]), (&KEPT.0.into(), &KEPT.1.into()), "{report}");
    host.verify_all();
    Ok(())
}

/// Whether what this host noted of the last backup is what the volume's tag says.
fn is_noted(host: &job::Host) -> bool {
    let folder = host.thinmover.state_folder().join("last-backups");
    let note = fs::read_to_string(folder.join(format!("{}.json", host.data.uuid()))).unwrap();
    let tags = host.data.tags();
    tags.iter().filter_map(|tag| tag.strip_prefix("thinmover.base=")).any(|tag| note.contains(tag))
}
