//! Rounds of whatever may happen to a volume and its pool, with a backup after each: in the end every
//! backup is what the volume was when it was made.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use thinmover_tests::fixtures::{Finished, MIB, ThinPool, Thinmover, Volume, lvm, rounds, run};

use crate::job::id;

const ROUNDS: u32 = 30;
const CHUNK: u64 = 64 * 1024;
const SIZES: [u64; 3] = [16 * MIB, 24 * MIB, 40 * MIB];

pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("every_backup_of_a_restless_volume_is_what_it_was", restless)]
}

fn restless() -> Result<(), Failed> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = u64::try_from(now.as_millis())?;
    eprintln!("seed {seed}");
    let mut model = Model::new(seed);
    let mut tiers = [0; 2];
    for round in 0..rounds(ROUNDS) {
        for _ in 0..model.random.u32(0..5) {
            model.happen();
        }
        let report = model.job(&["backup", "create", &model.volume.name.clone()]);
        match report["tier"].as_str() {
            Some("changed") => tiers[0] += 1,
            Some("allocated") => tiers[1] += 1,
            _ => return Err(format!("seed {seed}, round {round}: {report}").into()),
        }
        let made = Made { id: id(&report), digest: model.digest(), size: model.size };
        model.made.push(made);
    }
    // Most of what happens costs no base; a merge does.
    assert!(tiers[0] > tiers[1], "seed {seed}: {tiers:?}");
    let copy = model.thinmover.scratch().join("copy");
    for (round, Made { id, digest, .. }) in model.made.iter().enumerate() {
        model.job(&["restore", id, copy.to_str().unwrap()]);
        assert_eq!(digest_of(&copy), *digest, "seed {seed}, round {round}, backup {id}");
        std::fs::remove_file(&copy)?;
    }
    Ok(())
}

/// A backup, and what the volume was.
#[derive(Clone)]
struct Made {
    id: String,
    digest: String,
    size: u64,
}

struct Model {
    random: Rng,
    thinmover: Thinmover,
    pool: ThinPool,
    volume: Volume,
    size: u64,
    /// Names of snapshots that others made of the volume, oldest first.
    snapshots: Vec<String>,
    named: u32,
    made: Vec<Made>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let pool = ThinPool::new();
        let size = SIZES[1];
        let volume = pool.volume("data", size);
        let thinmover = Thinmover::new();
        thinmover.init_repository();
        let random = Rng::with_seed(seed);
        let (snapshots, made) = (Vec::new(), Vec::new());
        Self { random, thinmover, pool, volume, size, snapshots, named: 0, made }
    }

    fn job(&self, words: &[&str]) -> Value {
        self.thinmover.json(0, &self.words(words))
    }

    /// The arguments of a job in the process on this repository.
    fn words(&self, words: &[&str]) -> Vec<String> {
        let words = words.iter().map(|&word| word.to_owned());
        words.chain(["--standalone".into(), "--repo".into(), self.thinmover.repository()]).collect()
    }

    /// Something happens.
    fn happen(&mut self) {
        // Restores take long: they are for the long run.
        let kinds = if rounds(1) > 1 { 21 } else { 20 };
        match self.random.u32(0..kinds) {
            0..9 => self.write(),
            9..13 => self.discard(),
            13..15 => self.snapshot(),
            15..17 => self.delete_snapshot(),
            17 => self.resize(),
            18 => self.killed_backup(),
            20 => self.restore(),
            _ => self.merge(),
        }
    }

    /// Within a chunk or over several, on a sector.
    fn write(&mut self) {
        let length = if self.random.bool() { 512 } else { 512 * self.random.u64(1..1024) };
        let offset = self.random.u64(0..(self.size - length) / 512) * 512;
        // What is written is sometimes what was there, and sometimes zeroes.
        let fill = if self.random.u32(0..4) == 0 { 0 } else { self.random.u8(..) };
        let bytes = vec![fill; usize::try_from(length).unwrap()];
        let device = File::options().write(true).open(&self.volume.path).unwrap();
        device.write_all_at(&bytes, offset).unwrap();
        device.sync_all().unwrap();
    }

    fn discard(&mut self) {
        let length = CHUNK / 2 * self.random.u64(1..40);
        let offset = self.random.u64(0..(self.size - length) / 4096) * 4096;
        let (offset, length) = (format!("-o{offset}"), format!("-l{length}"));
        run("blkdiscard", &[offset.as_ref(), length.as_ref(), self.volume.path.as_os_str()]);
    }

    fn snapshot(&mut self) {
        self.named += 1;
        let name = format!("other{}", self.named);
        lvm(&format!("lvcreate --quiet -s -n {name} {}", self.volume.name));
        self.snapshots.push(format!("{}/{name}", self.pool.group));
    }

    fn delete_snapshot(&mut self) {
        if !self.snapshots.is_empty() {
            let name = self.snapshots.remove(self.random.usize(..self.snapshots.len()));
            lvm(&format!("lvremove --quiet -f {name}"));
        }
    }

    fn resize(&mut self) {
        self.size = SIZES[self.random.usize(..SIZES.len())];
        let (size, name) = (self.size, &self.volume.name);
        // The same size again is refused.
        Finished::of(std::process::Command::new("lvresize").args([
            "--quiet",
            "--yes",
            "--force",
            "-L",
            &format!("{size}b"),
            name,
        ]));
    }

    fn killed_backup(&mut self) {
        let words = self.words(&["backup", "create", &self.volume.name]);
        self.killed(&words);
    }

    /// Made an earlier backup again, sometimes after an attempt that was killed.
    fn restore(&mut self) {
        let fitting: Vec<_> = self.made.iter().filter(|made| made.size <= self.size).collect();
        let Some(made) = self.random.choice(fitting).cloned() else { return };
        let mode = if self.random.bool() { "delta" } else { "full" };
        let name = self.volume.name.clone();
        let words = ["restore", made.id.as_str(), &name, "--mode", mode, "--yes"];
        if self.random.bool() {
            let words = self.words(&words);
            self.killed(&words);
        }
        self.job(&words);
        let device = self.volume.path.display();
        let script = format!(
            "head -c {0} {device} | sha256sum; cmp -i {0}:0 -n {1} {device} /dev/zero",
            made.size,
            self.size - made.size
        );
        let printed = run("sh", &["-c", &script]);
        assert!(printed.starts_with(&made.digest), "{mode} of {}: {printed}", made.id);
    }

    fn killed(&mut self, words: &[String]) {
        let mut job = self.thinmover.spawn(words);
        std::thread::sleep(Duration::from_millis(self.random.u64(0..10_000)));
        let _ = job.kill();
        job.wait().unwrap();
        // The next job begins with recovery, and leaves what only the operator can judge.
        let none = ["snapshot", "create", "no-such-volume", "--standalone"];
        self.thinmover.run(&none).expect_status(3);
        self.pool.release_unrecorded(&self.thinmover.state_folder());
    }

    fn merge(&mut self) {
        let Some(name) = self.snapshots.pop() else { return };
        // An earlier merge took the origin, and these with it are snapshots of nothing.
        if lvm(&format!("lvs --noheadings -o origin {name}")).trim().is_empty() {
            self.snapshots.push(name);
            return;
        }
        lvm(&format!("lvchange --quiet -an {}", self.volume.name));
        lvm(&format!("lvconvert --quiet --merge {name}"));
        lvm(&format!("lvchange --quiet -ay {}", self.volume.name));
        let size =
            lvm(&format!("lvs --noheadings --units b --nosuffix -o lv_size {}", self.volume.name));
        self.size = size.trim().parse().unwrap();
    }

    fn digest(&self) -> String {
        digest_of(&self.volume.path)
    }
}

fn digest_of(path: &std::path::Path) -> String {
    let printed = run("sha256sum", &[path]);
    printed.split_whitespace().next().unwrap().to_owned()
}
