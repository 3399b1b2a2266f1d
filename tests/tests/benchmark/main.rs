//! The benchmark's promises, with tools made of shell commands on a small volume.
//!
//! Times are compared only with what must have passed, never with what should do.

#![allow(clippy::unwrap_used)] // In the helpers of tests as in tests themselves.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use thinmover_tests::bench::cold::ColdCache;
use thinmover_tests::bench::measure::{Figures, measured};
use thinmover_tests::bench::peers::{IMAGE, Peer, Place};
use thinmover_tests::bench::rounds::{Bench, Measured};
use thinmover_tests::bench::tools::Tool;
use thinmover_tests::bench::volume::{SMALLEST_BYTES, Volume};

/// On the filesystem of the build, which is not a tmpfs where the tests of a release run.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn measure(script: &str) -> Result<Figures> {
    let folder = folder();
    let harness = Path::new(env!("CARGO_BIN_EXE_bench"));
    measured(harness, &shell(script), folder.path(), &folder.path().join("log"))
}

/// A tool that copies, and restores what `restore` writes to `$1`.
struct Copier {
    name: &'static str,
    restore: &'static str,
}

impl Peer for Copier {
    fn name(&self) -> &'static str {
        self.name
    }

    fn options(&self) -> &'static str {
        ""
    }

    fn version(&self) -> Command {
        shell("echo 1.0")
    }

    fn init(&self, place: &Place) -> Result<Vec<Command>> {
        let mut command = shell("mkdir \"$0\"");
        command.arg(place.stored());
        Ok(vec![command])
    }

    fn backup(&self, place: &Place) -> Command {
        let mut command = shell("cp --sparse=never \"$0\" \"$1/$$\"");
        command.arg(place.source.join(IMAGE)).arg(place.stored());
        command
    }

    fn restore(&self, place: &Place) -> Result<Command> {
        let mut command = shell(self.restore);
        command.arg(place.source.join(IMAGE)).arg(self.restored(place));
        Ok(command)
    }
}

fn run(peers: Vec<Copier>, over_s3: bool) -> Measured {
    let folder = folder();
    let volume = Volume::new(SMALLEST_BYTES, 1).unwrap();
    let harness = env!("CARGO_BIN_EXE_bench").into();
    let bench = Bench::prepare(folder.path(), &volume, ColdCache::Advised, harness).unwrap();
    let bench = bench.over_s3(over_s3);
    let tools = peers.into_iter().map(|peer| Tool { peer: Box::new(peer), version: "1.0".into() });
    let measured = bench.run(tools.collect(), 2).unwrap();
    drop(bench);
    let left = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["thinmover-bench.lock"], "nothing is left but the lock");
    measured
}

#[test]
fn only_a_tool_that_restores_the_volume_has_figures() {
    let peers = vec![
        Copier { name: "true", restore: "cp \"$0\" \"$1\"" },
        Copier { name: "wrong", restore: "cp \"$0\" \"$1\" && printf x >>\"$1\"" },
        Copier { name: "failing", restore: "echo the disk is full >&2; exit 3" },
    ];
    let measured = run(peers, false);

    let [tool] = measured.tools.as_slice() else { panic!("{:?}", measured.tools) };
    assert_eq!((tool.name.as_str(), tool.rounds.len()), ("true", 2));
    assert_eq!(tool.median.stored_bytes, SMALLEST_BYTES);
    assert_eq!(tool.median.grown_bytes, SMALLEST_BYTES);
    assert!(tool.median.restore.wall_seconds > 0.0);

    let reasons: Vec<_> = measured.failed.iter().map(|failed| failed.name.as_str()).collect();
    assert_eq!(reasons, ["wrong", "failing"]);
    assert!(measured.failed[0].reason.contains("other bytes"), "{:?}", measured.failed);
    assert!(measured.failed[1].reason.contains("the disk is full"), "{:?}", measured.failed);

    assert_eq!(measured.limit.rounds.len(), 2);
    assert!(measured.limit.median.steps.iter().all(|step| step.figures.wall_seconds > 0.0));
}

#[test]
fn over_s3_a_tool_that_knows_no_buckets_is_named_and_has_no_figures() {
    let measured = run(vec![Copier { name: "copier", restore: "" }], true);
    assert!(measured.tools.is_empty() && measured.limit.rounds.is_empty());
    assert_eq!(measured.failed[0].name, "copier");
    assert!(measured.failed[0].reason.contains("bucket"), "{:?}", measured.failed);
}

#[test]
fn two_runs_in_one_folder_exclude_each_other() {
    let folder = folder();
    let prepare = || {
        let volume = Volume::new(SMALLEST_BYTES, 1).unwrap();
        Bench::prepare(folder.path(), &volume, ColdCache::Advised, "bench".into())
    };
    let first = prepare().unwrap();
    let refused = prepare().err().unwrap();
    assert!(format!("{refused:#}").contains("under way"), "{refused:#}");
    // What a killed run leaves does not stand in the way of the next.
    let work = folder.path().join("thinmover-bench.work");
    drop(first);
    std::fs::create_dir(&work).unwrap();
    std::fs::write(work.join("left"), "over").unwrap();
    // A child that another test has forked shares every open file, the lock too, until its execve(2).
    let again = (0..100).find_map(|_| {
        std::thread::sleep(Duration::from_millis(50));
        prepare().ok()
    });
    drop(again.unwrap());
    assert!(!work.exists());
}

#[test]
fn memory_is_that_of_the_largest_process_not_of_the_one_that_was_started() {
    // tail keeps all of a line that does not end.
    let large = measure("head -c 50000000 /dev/zero | tail -n 1 >/dev/null").unwrap();
    assert!((50_000_000..100_000_000).contains(&large.peak_bytes), "{large:?}");
    let small = measure("true").unwrap();
    assert!(small.peak_bytes < 20_000_000, "{small:?}");
}

#[test]
fn what_a_command_leaves_running_is_waited_for_and_counted() {
    let script = "timeout 0.3 sh -c 'while :; do :; done' &";
    let figures = measure(script).unwrap();
    assert!(figures.wall_seconds >= 0.3, "{figures:?}");
    assert!(figures.cpu_seconds > 0.01, "{figures:?}");
}

#[test]
fn a_command_that_fails_says_so_with_its_last_words() {
    let error = format!("{:#}", measure("echo no such repository >&2; exit 3").unwrap_err());
    assert!(error.contains("exit status: 3") && error.contains("no such repository"), "{error}");
    let error = format!("{:#}", measure("kill -9 $$").unwrap_err());
    assert!(error.contains("signal: 9"), "{error}");
}
