//! A volume is made an earlier one of its backups again: what it holds already is neither fetched nor
//! written, and until all of it is done it is marked as half restored.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use thinmover_tests::fixtures::{HostState, MIB, lvm, rounds, run};
use thinmover_tests::loop_devices::KILLS;

use crate::crash::{KILLED, all_points, points};
use crate::incremental::{CHUNK, HOLDS, Host, discard};
use crate::job::{assert_equal, id, random_file};

/// What the spot check reads at most.
const SPOT_CHECK: u64 = 4 * MIB;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("a_restore_in_place_writes_what_differs", writes_what_differs),
        Trial::test("a_half_restored_volume_is_no_source_until_a_restore_is_done", half_restored),
        Trial::test("what_was_there_before_a_restore_can_be_kept", undo),
        Trial::test("a_killed_restore_leaves_a_mark_that_the_next_one_takes_away", kills)
            .with_kind(KILLS),
    ]
}

/// A backup and what it is of.
struct Backup {
    id: String,
    copy: PathBuf,
}

impl Host {
    fn words(&self, words: &[&str]) -> Vec<String> {
        let words = words.iter().map(|&word| word.to_owned());
        words.chain(["--standalone".into(), "--repo".into(), self.thinmover.repository()]).collect()
    }

    #[track_caller]
    fn kept_copy(&self) -> Backup {
        let id = id(&self.job(0, &["backup", "create", &self.volume.name]));
        let copy = self.thinmover.scratch().join(&id);
        run("cp", &[&self.volume.path, &copy]);
        Backup { id, copy }
    }

    #[track_caller]
    fn restore(&self, backup: &Backup, (tier, reason): (&str, &str)) -> Value {
        let words = ["restore", &backup.id, &self.volume.name, "--mode", "delta", "--yes"];
        let report = self.job(0, &words);
        assert_equal(&self.volume.path, &backup.copy);
        let got = (&report["tier"], &report["reason"]);
        assert_eq!(got, (&tier.into(), &reason.into()), "{report}");
        report
    }

    /// Two backups that differ by a few chunks, and a volume that is neither.
    fn two_backups(&self) -> [Backup; 2] {
        let first = self.kept_copy();
        self.write(MIB + 512, 512);
        self.write(20 * MIB, CHUNK);
        discard(&self.volume.path, 4 * MIB, MIB);
        let second = self.kept_copy();
        self.write(512, 512);
        self.write(5 * MIB - 512, 1024);
        self.write(30 * MIB, CHUNK);
        discard(&self.volume.path, 6 * MIB, MIB);
        [first, second]
    }

    /// The backup that is refused of a volume that is half restored.
    #[track_caller]
    fn assert_no_source(&self, job: &str) {
        let refused = self.job(4, &["backup", "create", &self.volume.name]);
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(message.contains("half restored") && message.contains(job), "{message}");
    }
}

fn bytes(report: &Value, key: &str) -> u64 {
    report[key].as_u64().unwrap()
}

fn writes_what_differs() -> Result<(), Failed> {
    let host = Host::new();
    let [first, second] = host.two_backups();
    let before = HostState::now();

    let words = ["restore", &first.id, &host.volume.name, "--mode", "delta", "--dry-run"];
    let planned = bytes(&host.job(0, &words), "differingBytes");
    assert!((MIB..4 * MIB).contains(&planned), "{planned}");
    host.job(4, &words[..5]);
    // What was written since the last backup, and in what that differs from the first one.
    let report = host.restore(&first, HOLDS);
    assert_eq!(bytes(&report, "differingBytes"), planned);
    assert!(bytes(&report, "writtenBytes") <= planned, "{report}");
    // Compared, and compared once more.
    assert!(bytes(&report, "readBytes") <= SPOT_CHECK + 4 * planned, "{report}");
    before.assert_unchanged();

    let report = host.restore(&first, HOLDS);
    assert_eq!((bytes(&report, "writtenBytes"), bytes(&report, "discardedBytes")), (0, 0));
    host.restore(&second, HOLDS);
    host.restore(&first, HOLDS);
    // The base is still one for the next backup, and that one for the next restore.
    let report = host.job(0, &["backup", "create", &host.volume.name]);
    assert_eq!(report["tier"], "changed", "{report}");
    let copy = host.thinmover.scratch().join("copy");
    host.job(0, &["restore", &id(&report), copy.to_str().unwrap()]);
    assert_equal(&copy, &first.copy);
    let report = host.restore(&second, HOLDS);
    assert!(bytes(&report, "readBytes") <= SPOT_CHECK + 4 * planned, "{report}");

    // A volume that grew is cleared behind the backup's end.
    lvm(&format!("lvextend --quiet -L 40M {}", host.volume.name));
    host.write(36 * MIB, CHUNK);
    let words = ["restore", &first.id, &host.volume.name, "--mode", "delta", "--yes"];
    assert_eq!(host.job(0, &words)["tier"], "changed");
    run("truncate", &["-s".as_ref(), "40M".as_ref(), first.copy.as_os_str()]);
    assert_equal(&host.volume.path, &first.copy);

    // Without a base all of it is compared.
    host.write(MIB, CHUNK);
    fs::remove_dir_all(host.thinmover.state_folder().join("last-backups"))?;
    host.restore(&first, ("full", "no-base"));
    let other = host.pool.volume("other", 40 * MIB);
    random_file(&other.path, 40 * MIB);
    let words = ["restore", &second.id, &other.name, "--mode", "delta", "--yes"];
    let report = host.job(0, &words);
    assert_eq!(bytes(&report, "differingBytes"), 40 * MIB, "{report}");
    run("truncate", &["-s".as_ref(), "40M".as_ref(), second.copy.as_os_str()]);
    assert_equal(&other.path, &second.copy);
    assert_eq!(bytes(&host.job(0, &words), "writtenBytes"), 0);
    Ok(())
}

fn half_restored() -> Result<(), Failed> {
    let host = Host::new();
    let [first, _] = host.two_backups();
    let before = HostState::now();
    lvm(&format!("lvchange --quiet --addtag thinmover.restoring=lost-job {}", host.volume.name));
    host.assert_no_source("lost-job");
    let volumes = host.thinmover.json(0, &["volumes", "--standalone"]);
    let volumes = volumes["volumes"].as_array().unwrap();
    let marked = volumes.iter().find(|volume| volume["name"] == host.volume.name).unwrap();
    assert_eq!(marked["restoring"], "lost-job");
    let words = ["restore", &first.id, &host.volume.name, "--yes"];
    host.job(0, &words);
    assert_equal(&host.volume.path, &first.copy);
    before.assert_unchanged();
    assert_eq!(host.thinmover.records(), [""; 0]);

    // A restore that fails half way leaves the mark: a pack is gone.
    let packs =
        run("find", &[host.thinmover.repository_folder().to_str().unwrap(), "-size", "+2M"]);
    let pack = packs.lines().next().unwrap();
    let hidden = host.thinmover.scratch().join("hidden");
    host.write(0, 8 * MIB);
    fs::rename(pack, &hidden)?;
    let failed = host.job(1, &words);
    fs::rename(&hidden, pack)?;
    if !host.volume.tags().iter().any(|tag| tag.starts_with("thinmover.restoring=")) {
        // Noticed before anything was overwritten.
        before.assert_unchanged();
        return Ok(());
    }
    let message = failed["error"]["message"].as_str().unwrap();
    assert!(message.contains("half restored"), "{message}");
    host.assert_no_source("half restored");
    host.job(0, &words);
    assert_equal(&host.volume.path, &first.copy);
    before.assert_unchanged();
    Ok(())
}

fn undo() -> Result<(), Failed> {
    let host = Host::new();
    let [first, _] = host.two_backups();
    let was = host.thinmover.scratch().join("was");
    run("cp", &[&host.volume.path, &was]);
    let before = HostState::now();
    let name = host.volume.name.as_str();
    let words = ["restore", &first.id, name, "--mode", "delta", "--yes", "--undo"];
    let report = host.job(0, &words);
    assert_equal(&host.volume.path, &first.copy);
    let snapshot = report["undoSnapshot"].as_str().unwrap();
    let list = host.thinmover.json(0, &["snapshot", "list", "--standalone"]);
    assert_eq!(list["snapshots"][0]["name"], snapshot);

    lvm(&format!("lvchange --quiet -an {name}"));
    lvm(&format!("lvconvert --quiet --merge {snapshot}"));
    lvm(&format!("lvchange --quiet -ay {name}"));
    assert_equal(&host.volume.path, &was);
    // The next job sees that the snapshot is gone.
    host.job(0, &["restore", &first.id, name, "--mode", "delta", "--yes"]);
    assert_equal(&host.volume.path, &first.copy);
    assert_eq!(host.thinmover.records(), [""; 0]);
    before.assert_unchanged();

    let file = host.thinmover.scratch().join("file");
    let refused = host.job(4, &["restore", &first.id, file.to_str().unwrap(), "--undo"]);
    assert_eq!(refused["error"]["code"], "unsuitable");
    Ok(())
}

fn kills() -> Result<(), Failed> {
    let host = Host::new();
    let [first, second] = host.two_backups();
    let name = host.volume.name.as_str();
    let before = HostState::now();
    let mark = |difference: &str| {
        difference.lines().count() == 2 && difference.contains("thinmover.restoring=")
    };
    let mut marked = 0;
    let modes: &[&str] = if rounds(1) > 1 { &["delta", "full"] } else { &["delta"] };
    for &mode in modes {
        let words = ["restore", &first.id, name, "--mode", mode, "--yes"];
        let log = tempfile::NamedTempFile::new()?;
        host.thinmover.run_logging_crash_points(log.path(), &host.words(&words)).expect_status(0);
        let log = fs::read_to_string(log.path())?;
        let written: Vec<_> =
            all_points(&log).into_iter().filter(|at| at.starts_with("target:write")).collect();
        let middle = [written[0].clone(), written[written.len() / 2].clone()];
        // In an ordinary run some of the points.
        let step = if rounds(1) > 1 { 1 } else { 2 };
        for point in points(&log).iter().step_by(step).chain(&middle) {
            // Something to do for each.
            host.job(0, &["restore", &second.id, name, "--mode", "delta", "--yes"]);
            host.thinmover.run_killed_at(point, &host.words(&words)).expect_status(KILLED);
            // Every job begins with recovery, and leaves what only the operator can judge.
            let none = ["snapshot", "create", "no-such-volume", "--standalone"];
            host.thinmover.json(3, &none);
            host.pool.release_unrecorded(&host.thinmover.state_folder());
            host.thinmover.json(3, &none);
            let difference = before.difference(&HostState::now());
            if mark(&difference) {
                host.assert_no_source("half restored");
                marked += 1;
            } else {
                assert!(difference.is_empty(), "{mode}, killed at {point}:\n{difference}");
            }
            host.job(0, &words);
            assert_equal(&host.volume.path, &first.copy);
            before.assert_unchanged();
            // The record of the mark that was taken over goes with the next recovery.
            host.thinmover.json(3, &none);
            assert_eq!(host.thinmover.records(), [""; 0], "{mode}, killed at {point}");
        }
    }
    // While something is written.
    assert!(marked >= 2 * modes.len(), "{marked} marks");
    Ok(())
}
