//! Uploads after the first read what changed, while all that this rests on holds; when any of it does
//! not, they read more, say why, and are right all the same.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use thinmover_tests::fixtures::{HostState, MIB, ThinPool, Thinmover, Volume, lvm, run};

use crate::job::{assert_equal, id, random_file};

pub(crate) const CHUNK: u64 = 64 * 1024;
pub(crate) const HOLDS: (&str, &str) = ("changed", "base-holds");
pub(crate) const SIZE: u64 = 32 * MIB;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("only_what_changed_is_read_and_others_may_do_as_they_like", changes),
        Trial::test("a_volume_that_grows_or_shrinks_keeps_its_base", resized),
        Trial::test("a_volume_that_is_another_one_has_no_base", replaced),
        Trial::test("a_base_that_this_host_the_disk_or_the_repository_lost_is_none", lost),
        Trial::test("a_base_that_the_repository_cannot_read_is_none", damaged),
        Trial::test("a_block_that_changed_behind_the_metadata_is_noticed", behind),
    ]
}

/// A pool with an unmounted volume, and a repository.
pub(crate) struct Host {
    pub(crate) thinmover: Thinmover,
    pub(crate) pool: ThinPool,
    pub(crate) volume: Volume,
}

impl Host {
    pub(crate) fn new() -> Self {
        let host = Self::in_pool(ThinPool::new(), SIZE);
        host.write(0, 8 * MIB);
        host
    }

    /// The volume is of `bytes`.
    pub(crate) fn in_pool(pool: ThinPool, bytes: u64) -> Self {
        let volume = pool.volume("data", bytes);
        let host = Self { thinmover: Thinmover::new(), pool, volume };
        host.thinmover.init_repository();
        host
    }

    pub(crate) fn job(&self, status: i32, words: &[&str]) -> Value {
        let repository = self.thinmover.repository();
        let common = ["--standalone", "--repo", repository.as_str()];
        self.thinmover.json(status, &[words, &common].concat())
    }

    /// Writes bytes that neither compress nor repeat.
    pub(crate) fn write(&self, offset: u64, length: u64) {
        write_random(&self.volume.path, offset, length);
    }

    /// Makes a backup that must have this tier for that reason, and must be the volume.
    #[track_caller]
    pub(crate) fn back_up(&self, tier: (&str, &str)) -> Value {
        self.back_up_with(&[], tier)
    }

    /// The same, with further options.
    #[track_caller]
    pub(crate) fn back_up_with(&self, options: &[&str], (tier, reason): (&str, &str)) -> Value {
        let status = if WARNED.contains(&reason) { 5 } else { 0 };
        self.back_up_ending(status, options, (tier, reason))
    }

    /// The same, where the exit status must be this one.
    #[track_caller]
    pub(crate) fn back_up_ending(
        &self,
        status: i32,
        options: &[&str],
        (tier, reason): (&str, &str),
    ) -> Value {
        let words = ["backup", "create", &self.volume.name];
        let report = self.job(status, &[&words, options].concat());
        let got = (&report["tier"], &report["reason"]);
        assert_eq!(got, (&tier.into(), &reason.into()), "{report}");
        let copy = self.thinmover.scratch().join("copy");
        self.job(0, &["restore", &id(&report), copy.to_str().unwrap()]);
        assert_equal(&copy, &self.volume.path);
        fs::remove_file(copy).unwrap();
        report
    }

    pub(crate) fn resize(&self, bytes: u64) {
        let name = &self.volume.name;
        lvm(&format!("lvresize --quiet --yes --force -L {bytes}b {name}"));
    }

    /// The file in which this host remembers the volume's last backup.
    fn note(&self) -> std::path::PathBuf {
        let name = format!("{}.json", self.volume.uuid());
        self.thinmover.state_folder().join("last-backups").join(name)
    }

    pub(crate) fn pool_device(&self, part: &str) -> String {
        format!("/dev/mapper/{}-pool_{part}", self.pool.group.replace('-', "--"))
    }
}

/// Reasons that nobody wants to miss.
const WARNED: [&str; 5] =
    ["base-gone", "base-damaged", "metadata-set-back", "base-contradicted", "spot-check-failed"];

pub(crate) fn write_random(path: &Path, offset: u64, length: u64) {
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    std::io::Read::read_exact(&mut File::open("/dev/urandom").unwrap(), &mut bytes).unwrap();
    let device = File::options().write(true).open(path).unwrap();
    device.write_all_at(&bytes, offset).unwrap();
    device.sync_all().unwrap();
}

pub(crate) fn discard(path: &Path, offset: u64, length: u64) {
    let (offset, length) = (format!("-o{offset}"), format!("-l{length}"));
    run("blkdiscard", &[offset.as_ref(), length.as_ref(), path.as_os_str()]);
}

fn changes() -> Result<(), Failed> {
    let host = Host::new();
    let before = HostState::now();
    host.back_up(("allocated", "no-base"));
    let report = host.back_up(HOLDS);
    // 16 image blocks at most are read again though nothing changed.
    assert!(report["readBytes"].as_u64().unwrap() <= 4 * MIB, "{report}");
    before.assert_unchanged();

    // In a chunk that is there, across two, new ones, at the very end, and a chunk that goes.
    host.write(5 * CHUNK + 512, 512);
    host.write(7 * CHUNK - 512, 1024);
    host.write(20 * MIB, 3 * CHUNK);
    host.write(SIZE - 512, 512);
    discard(&host.volume.path, 2 * MIB, MIB);
    let report = host.back_up(HOLDS);
    assert!(report["readBytes"].as_u64().unwrap() <= 4 * MIB + 8 * 4 * CHUNK, "{report}");
    assert!(report["newBytes"].as_u64().unwrap() <= 2 * MIB, "{report}");

    // What went comes back, in part.
    host.write(2 * MIB + CHUNK, CHUNK);
    host.back_up(HOLDS);

    // As TopoLVM does, and others.
    lvm(&format!("lvcreate --quiet -s -kn -n other {}", host.volume.name));
    host.write(MIB, 512);
    host.back_up(HOLDS);
    lvm(&format!("lvremove --quiet -f {}/other", host.pool.group));
    let unrelated = host.pool.volume("unrelated", 16 * MIB);
    write_random(&unrelated.path, 0, MIB);
    host.write(3 * MIB, 512);
    host.back_up(HOLDS);
    lvm(&format!("lvremove --quiet -f {}", unrelated.name));
    host.write(4 * MIB, 512);
    let last = host.back_up(HOLDS);

    // Asked for otherwise.
    let create = ["backup", "create", &host.volume.name, "--parent"];
    let first = host.job(0, &["backup", "list"])["backups"][0]["id"].as_str().unwrap().to_owned();
    let report = host.job(0, &[&create[..], &[first.as_str()]].concat());
    assert_eq!(
        (&report["tier"], &report["reason"]),
        (&"allocated".into(), &"parent-not-last".into())
    );
    let report = host.job(0, &[&create[..], &["none"]].concat());
    assert_eq!((&report["tier"], &report["reason"]), (&"allocated".into(), &"parent-none".into()));
    let report = host.job(0, &[&create[..], &[id(&report).as_str()]].concat());
    assert_eq!(report["tier"], "changed", "{report}");
    assert_ne!(id(&last), id(&report));
    before.assert_unchanged();
    Ok(())
}

fn resized() -> Result<(), Failed> {
    let host = Host::new();
    host.write(30 * MIB, 2 * MIB);
    host.back_up(("allocated", "no-base"));
    host.resize(40 * MIB);
    host.write(36 * MIB, CHUNK);
    host.back_up(HOLDS);
    // What is cut off stays mapped, and comes back with its old times.
    host.resize(8 * MIB);
    host.back_up(HOLDS);
    host.resize(SIZE);
    host.write(20 * MIB, 512);
    host.back_up(HOLDS);
    host.resize(8 * MIB);
    host.resize(SIZE);
    host.back_up(HOLDS);
    Ok(())
}

fn replaced() -> Result<(), Failed> {
    let host = Host::new();
    host.back_up(("allocated", "no-base"));
    // Merged: the volume keeps its name and UUID.
    let name = &host.volume.name;
    lvm(&format!("lvcreate --quiet -s -n kept {name}"));
    host.write(MIB, MIB);
    host.back_up(HOLDS);
    lvm(&format!("lvchange --quiet -an {name}"));
    lvm(&format!("lvconvert --quiet --merge {}/kept", host.pool.group));
    lvm(&format!("lvchange --quiet -ay {name}"));
    host.back_up(("allocated", "device-replaced"));
    host.back_up(HOLDS);

    // Made anew under its name: nothing is known of that one.
    lvm(&format!("lvremove --quiet -f {name}"));
    let again = host.pool.volume("data", SIZE);
    random_file(&again.path, 4 * MIB);
    host.back_up(("allocated", "no-base"));
    Ok(())
}

fn lost() -> Result<(), Failed> {
    let host = Host::new();
    let name = &host.volume.name;
    host.back_up(("allocated", "no-base"));
    let older = fs::read(host.note())?;
    host.write(MIB, MIB);
    host.back_up(HOLDS);
    let newer = fs::read(host.note())?;

    // The state folder set back under the disk, and the disk under the state folder.
    fs::write(host.note(), &older)?;
    host.back_up(("allocated", "base-tag-missing"));
    let tag =
        host.volume.tags().into_iter().find(|tag| tag.starts_with("thinmover.base=")).unwrap();
    lvm(&format!("lvchange --quiet --deltag {tag} {name}"));
    host.back_up(("allocated", "base-tag-missing"));
    host.back_up(HOLDS);
    fs::write(host.note(), &newer)?;
    host.back_up(("allocated", "base-tag-missing"));
    // Lost altogether, and not to be read.
    fs::remove_file(host.note())?;
    host.back_up(("allocated", "no-base"));
    fs::write(host.note(), "{")?;
    host.back_up(("allocated", "no-base"));

    // Not what the backup itself says.
    let other = fs::read_to_string(host.note())?.replace("\"volumeBytes\":", "\"volumeBytes\":1");
    fs::write(host.note(), other)?;
    host.back_up(("allocated", "no-base"));

    // Another size of image blocks, and back.
    let words = ["backup", "create", name, "--block-size", "64KiB"];
    let report = host.job(0, &words);
    assert_eq!(report["reason"], "block-size-changed", "{report}");
    host.back_up(("allocated", "block-size-changed"));

    // The repository no longer has it.
    let held = fs::read(host.note())?;
    let last = host.back_up(HOLDS);
    fs::write(host.note(), held)?;
    let gone = id(&last);
    host.job(0, &["backup", "delete", &gone, "--yes"]);
    host.back_up(("allocated", "base-tag-missing"));
    let last = id(&host.back_up(HOLDS));
    let note = fs::read(host.note())?;
    host.job(0, &["backup", "delete", &last, "--yes"]);
    // Deleting it on purpose makes this host forget it.
    fs::write(host.note(), note)?;
    host.back_up(("allocated", "base-gone"));
    Ok(())
}

fn damaged() -> Result<(), Failed> {
    let host = Host::new();
    host.back_up(("allocated", "no-base"));
    let objects = |part: &str, backup: &str| {
        let (part, name) = (format!("*/{part}/*"), format!("{backup}*"));
        let folder = host.thinmover.repository_folder();
        let words = [folder.to_str().unwrap(), "-type", "f", "-path", &part, "-name", &name];
        let found: Vec<_> = run("find", &words).lines().map(str::to_owned).collect();
        assert!(!found.is_empty(), "{words:?}");
        found
    };
    let is_told = |backup: &str| {
        let report = host.back_up(("allocated", "base-damaged"));
        assert!(report["warnings"][0].as_str().unwrap().contains("is no base"), "{report}");
        assert_ne!(id(&report), backup);
    };

    // What says that it is one.
    host.write(MIB, 512);
    let last = id(&host.back_up(HOLDS));
    for object in objects("outcome", &last) {
        let bytes = fs::read(&object)?;
        fs::remove_file(&object)?;
        fs::write(&object, &bytes[..bytes.len() / 2])?;
    }
    is_told(&last);

    // What says where its blocks are.
    host.write(20 * MIB, CHUNK);
    let last = id(&host.back_up(HOLDS));
    for object in objects("index", &last) {
        fs::remove_file(object)?;
    }
    // What the host keeps would do for it.
    host.thinmover.forget_cache();
    is_told(&last);
    host.back_up(HOLDS);
    Ok(())
}

/// No write of the volume's: the chunks' content is changed on the pool's data device.
fn behind() -> Result<(), Failed> {
    let host = Host::new();
    host.back_up(("allocated", "no-base"));
    host.write(9 * MIB, 512);
    write_random(Path::new(&host.pool_device("tdata")), 0, 10 * MIB);
    fs::write("/proc/sys/vm/drop_caches", "3")?;
    let report = host.back_up(("allocated", "spot-check-failed"));
    assert!(report["warnings"][0].as_str().unwrap().contains("changed"), "{report}");
    host.back_up(HOLDS);
    Ok(())
}
