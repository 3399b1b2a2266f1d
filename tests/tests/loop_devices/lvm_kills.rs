//! Killed at every point of a snapshot's life: after the next start each is as before or done, never
//! in between, and nothing else has changed.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Child;
use std::time::Instant;

use libtest_mimic::{Failed, Trial};
use thinmover_tests::fixtures::{HostState, MIB, Mounted, ThinPool, Thinmover, rounds};
use thinmover_tests::loop_devices::KILLS;

use crate::crash::{KILLED, points};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("killed_snapshot_create_leaves_all_of_it_or_nothing", create).with_kind(KILLS),
        Trial::test("killed_snapshot_delete_leaves_all_of_it_or_nothing", delete).with_kind(KILLS),
        Trial::test("killed_snapshot_mount_leaves_all_of_it_or_nothing", mount).with_kind(KILLS),
        Trial::test("killed_snapshot_unmount_leaves_all_of_it_or_nothing", unmount)
            .with_kind(KILLS),
        Trial::test("killed_in_the_middle_of_an_lvm_command_it_leaves_all_or_nothing", at_any_time),
    ]
}

fn create() -> Result<(), Failed> {
    let host = Host::new();
    host.kill_everywhere(
        &["snapshot", "create", &host.origin, "--name", "kept"],
        &["snapshot", "delete", &host.snapshot],
    )
}

fn delete() -> Result<(), Failed> {
    let host = Host::new();
    host.run(&["snapshot", "create", &host.origin, "--name", "kept"]);
    host.kill_everywhere(
        &["snapshot", "delete", &host.snapshot],
        &["snapshot", "create", &host.origin, "--name", "kept"],
    )
}

fn mount() -> Result<(), Failed> {
    let host = Host::new();
    host.run(&["snapshot", "create", &host.origin, "--name", "kept"]);
    host.kill_everywhere(
        &["snapshot", "mount", &host.snapshot],
        &["snapshot", "unmount", &host.snapshot],
    )
}

fn unmount() -> Result<(), Failed> {
    let host = Host::new();
    host.run(&["snapshot", "create", &host.origin, "--name", "kept"]);
    host.run(&["snapshot", "mount", &host.snapshot]);
    host.kill_everywhere(
        &["snapshot", "unmount", &host.snapshot],
        &["snapshot", "mount", &host.snapshot],
    )
}

/// Crash points stand between LVM's commands. Killed during one, it goes on without us, and recovery
/// must wait for it.
fn at_any_time() -> Result<(), Failed> {
    let count = rounds(6);
    let host = Host::new();
    let (create, delete) = (
        ["snapshot", "create", &host.origin, "--name", "kept"],
        ["snapshot", "delete", &host.snapshot],
    );
    let before = HostState::now();
    let begun = Instant::now();
    host.run(&create);
    let takes = begun.elapsed();
    let whole = masked(&before.difference(&HostState::now()));
    host.run(&delete);
    for round in 1..=count {
        let before = HostState::now();
        let mut child = host.spawn(&create);
        std::thread::sleep(takes * round / count);
        let killed = child.kill();
        child.wait()?;
        killed?;
        host.recover();
        let difference = before.difference(&HostState::now());
        if !difference.is_empty() {
            assert_eq!(masked(&difference), whole, "round {round} of {count}");
            host.run(&delete);
        }
    }
    Ok(())
}

/// A mounted volume, and thinmover with its own state. What stands first is dropped first.
struct Host {
    thinmover: std::cell::RefCell<Option<Thinmover>>,
    _mounted: Mounted,
    _pool: ThinPool,
    origin: String,
    snapshot: String,
}

impl Host {
    fn new() -> Self {
        let pool = ThinPool::new();
        let volume = pool.volume("data", 512 * MIB);
        let mounted = volume.format_xfs().mount();
        Self {
            thinmover: Some(Thinmover::new()).into(),
            _mounted: mounted,
            origin: volume.name,
            snapshot: format!("{}/kept", pool.group),
            _pool: pool,
        }
    }

    #[track_caller]
    fn run(&self, words: &[&str]) {
        let thinmover = self.thinmover.borrow();
        thinmover.as_ref().unwrap().run(&standalone(words)).expect_status(0);
    }

    fn spawn(&self, words: &[&str]) -> Child {
        self.thinmover.borrow().as_ref().unwrap().spawn(&standalone(words))
    }

    /// The same state through another build of thinmover.
    fn with<T>(
        &self,
        change: impl FnOnce(Thinmover) -> Thinmover,
        act: impl FnOnce(&Thinmover) -> T,
    ) -> T {
        let changed = change(self.thinmover.take().unwrap());
        let result = act(&changed);
        self.thinmover.replace(Some(changed.unharmed()));
        result
    }

    /// Runs `words` once for each crash point that they pass and kills them there. The host must
    /// then be as before or as after; in the second case `undo` brings it back.
    fn kill_everywhere(&self, words: &[&str], undo: &[&str]) -> Result<(), Failed> {
        let before = HostState::now();
        let log = tempfile::NamedTempFile::new()?;
        self.with(
            |thinmover| thinmover.log_crash_points(log.path()),
            |thinmover| thinmover.run(&standalone(words)).expect_status(0),
        );
        let whole = masked(&before.difference(&HostState::now()));
        assert_ne!(whole, "", "it changes something");
        self.run(undo);
        let points = points(&fs::read_to_string(log.path())?);
        let (mut undone, mut done) = (0, 0);
        for point in &points {
            let before = HostState::now();
            self.with(
                |thinmover| thinmover.kill_at(point),
                |thinmover| thinmover.run(&standalone(words)).expect_status(KILLED),
            );
            self.recover();
            self.assert_no_temporary_files(point);
            let difference = before.difference(&HostState::now());
            if difference.is_empty() {
                undone += 1;
            } else if masked(&difference) == whole {
                done += 1;
                self.run(undo);
            } else {
                return Err(
                    format!("killed at {point}, the host is half way:\n{difference}").into()
                );
            }
        }
        assert!(undone > 0 && done > 0, "{undone} undone, {done} done of {points:?}");
        Ok(())
    }

    /// Every job on LVM begins with recovery; this one finds nothing to do afterwards.
    fn recover(&self) {
        let thinmover = self.thinmover.borrow();
        let words = standalone(&["snapshot", "create", "no-such-volume"]);
        thinmover.as_ref().unwrap().run(&words).expect_status(3);
    }

    /// Nothing but whole records, each with its lock.
    fn assert_no_temporary_files(&self, point: &str) {
        let thinmover = self.thinmover.borrow();
        let folder = thinmover.as_ref().unwrap().state_folder().join("records");
        for entry in fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(name.ends_with(".json") || name.ends_with(".lock"), "{point} left {name}");
        }
    }
}

fn standalone<'a>(words: &[&'a str]) -> Vec<&'a str> {
    words.iter().copied().chain(["--standalone"]).collect()
}

/// The text without UUIDs and nonces: each time a volume is made it has others.
fn masked(text: &str) -> String {
    const SHORTEST: usize = 32;
    let mut masked = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let rest = &word[bare.len()..];
        let is_id = bare.len() >= SHORTEST && !bare.contains("--");
        masked.push_str(if is_id { "ID" } else { bare });
        masked.push_str(rest);
    }
    masked
}
