//! What the trials of uploads and downloads share: a pool with a mounted volume and a repository.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use thinmover_tests::fixtures::{MIB, Mounted, ThinPool, Thinmover, Volume, lvm, run};

/// A pool with the mounted volume `data`, and a repository outside of it. What stands first is
/// dropped first.
pub(crate) struct Host {
    pub(crate) thinmover: Thinmover,
    pub(crate) mounted: Mounted,
    pub(crate) data: Volume,
    pub(crate) pool: ThinPool,
}

impl Host {
    /// `data` is the smallest that holds an xfs.
    pub(crate) fn with_xfs() -> Self {
        let pool = ThinPool::new();
        let data = pool.volume("data", 320 * MIB);
        data.format_xfs();
        Self::new(pool, data)
    }

    /// `data` is small and quickly read.
    pub(crate) fn with_ext4() -> Self {
        let pool = ThinPool::new();
        let data = pool.volume("data", 96 * MIB);
        data.format_ext4();
        Self::new(pool, data)
    }

    fn new(pool: ThinPool, data: Volume) -> Self {
        let mounted = data.mount();
        let thinmover = Thinmover::new();
        thinmover.init_repository();
        Self { thinmover, mounted, data, pool }
    }

    /// Another volume in the pool, as large as `data`.
    pub(crate) fn other(&self, name: &str) -> Volume {
        let bytes =
            lvm(&format!("lvs --noheadings --units b --nosuffix -o lv_size {}", self.data.name));
        self.pool.volume(name, bytes.trim().parse().unwrap())
    }

    /// Fills a file on the mounted volume with bytes that neither compress nor repeat.
    pub(crate) fn write_file(&self, name: &str, bytes: u64) {
        random_file(&self.mounted.path().join(name), bytes);
        self.mounted.sync();
    }

    /// The arguments of a job in the process on this host's repository.
    pub(crate) fn job(&self, words: &[&str]) -> Vec<String> {
        let words = words.iter().map(|&word| word.to_owned());
        words.chain(["--standalone".into(), "--repo".into(), self.thinmover.repository()]).collect()
    }

    /// Runs a job that must end with this status and returns its document.
    #[track_caller]
    pub(crate) fn run(&self, status: i32, words: &[&str]) -> Value {
        self.thinmover.json(status, &self.job(words))
    }

    #[track_caller]
    pub(crate) fn spawn(&self, words: &[&str]) -> Child {
        self.thinmover.spawn(&self.job(words))
    }

    /// Backs the mounted volume up and returns the backup's id.
    #[track_caller]
    pub(crate) fn back_up(&self) -> String {
        id(&self.run(0, &["backup", "create", &self.data.name]))
    }

    /// The ids of all backups that are listed, oldest first.
    #[track_caller]
    pub(crate) fn listed(&self) -> Vec<String> {
        let list = self.run(0, &["backup", "list"]);
        list["backups"].as_array().unwrap().iter().map(id).collect()
    }

    /// Reads and checks every backup that is listed; returns their ids.
    #[track_caller]
    pub(crate) fn verify_all(&self) -> Vec<String> {
        let ids = self.listed();
        for id in &ids {
            self.run(0, &["backup", "verify", id]);
        }
        ids
    }

    /// Every job on LVM begins with recovery; this one finds nothing to do afterwards.
    #[track_caller]
    pub(crate) fn recover(&self) {
        let words = ["snapshot", "create", "no-such-volume", "--standalone"];
        self.thinmover.run(&words).expect_status(3);
    }

    /// Waits until the snapshot of a running job is there and stops the job.
    #[track_caller]
    pub(crate) fn stop_with_snapshot(&self, job: &Child) -> String {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let volumes = lvm(&format!(
                "lvs --noheadings --separator | -o lv_full_name,lv_active,lv_tags {}",
                self.pool.group
            ));
            let snapshot = volumes.lines().find_map(|line| {
                let mut fields = line.trim().split('|');
                let (name, active, tags) = (fields.next()?, fields.next()?, fields.next()?);
                (active == "active" && tags.contains("thinmover.owner=")).then(|| name.to_owned())
            });
            if let Some(snapshot) = snapshot {
                signal(job, Signal::SIGSTOP);
                return snapshot;
            }
            assert!(Instant::now() < deadline, "the job makes no snapshot");
        }
    }
}

/// The `id` of a document.
#[track_caller]
pub(crate) fn id(document: &Value) -> String {
    document["id"].as_str().unwrap().to_owned()
}

/// Sends a signal to a process.
#[track_caller]
pub(crate) fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// The end of a process that was spawned: its exit status and the document on its stdout.
#[track_caller]
pub(crate) fn end(child: Child) -> (Option<i32>, Value) {
    let output = child.wait_with_output().unwrap();
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), document)
}

/// Makes a file of bytes that neither compress nor repeat.
#[track_caller]
pub(crate) fn random_file(path: &Path, bytes: u64) {
    let count = format!("count={}", bytes / MIB);
    let to = format!("of={}", path.display());
    run("dd", &["if=/dev/urandom", &to, "bs=1M", &count, "status=none"]);
}

/// The end of the test when two volumes or files differ.
#[track_caller]
pub(crate) fn assert_equal(left: &Path, right: &Path) {
    let mut files = [left, right].map(|path| File::open(path).unwrap());
    // `cmp` reads a device by 4 KiB, which takes many times as long in an emulated guest.
    let mut pieces = [Vec::new(), Vec::new()];
    let mut at = 0;
    loop {
        for (file, piece) in files.iter_mut().zip(&mut pieces) {
            piece.clear();
            file.take(MIB).read_to_end(piece).unwrap();
        }
        let [ours, theirs] = &pieces;
        let alike = || ours.iter().zip(theirs).take_while(|(left, right)| left == right).count();
        let paths = (left.display(), right.display());
        assert!(ours == theirs, "{} and {} differ at byte {}", paths.0, paths.1, at + alike());
        if ours.is_empty() {
            return;
        }
        at += ours.len();
    }
}

/// The device of a volume given as `VG/LV`.
pub(crate) fn device(name: &str) -> PathBuf {
    Path::new("/dev").join(name)
}
