//! What a job takes in memory does not grow with the volume, by the kernel's own count.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixture::{Fixture, Ran};

const MIB: u64 = 1 << 20;

/// A control group that counts the memory of the processes put into it: theirs, and what of the page
/// cache and the kernel's own memory is theirs.
struct ControlGroup {
    folder: PathBuf,
    peak: &'static str,
}

impl ControlGroup {
    /// `None` where this process may make none.
    fn new(name: &str) -> Option<Self> {
        // Documentation/admin-guide/cgroup-v2.rst (memory.peak: Linux 5.19) and cgroup-v1/memory.rst.
        let kinds = [
            ("/sys/fs/cgroup", "memory.peak"),
            ("/sys/fs/cgroup/memory", "memory.max_usage_in_bytes"),
        ];
        kinds.into_iter().find_map(|(root, peak)| {
            let folder = Path::new(root).join(format!("thinmover-{name}-{}", std::process::id()));
            fs::create_dir(&folder).ok()?;
            let group = Self { folder, peak };
            group.peak_mib().map(|_| group)
        })
    }

    fn peak_mib(&self) -> Option<u64> {
        let peak = fs::read_to_string(self.folder.join(self.peak)).ok()?;
        Some(peak.trim().parse::<u64>().ok()? / MIB)
    }

    /// The same command in this group from its start.
    fn contain(&self, command: &Command) -> Command {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let words: Vec<OsString> = words.map(Into::into).collect();
        let mut contained = Command::new("sh");
        contained.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]);
        contained.arg(self.folder.join("cgroup.procs")).args(words);
        contained
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}

/// A file with bytes of its own at the beginning of each MiB; the holes between take no room.
fn sparse(path: &Path, bytes: u64) {
    let file = File::create(path).unwrap();
    file.set_len(bytes).unwrap();
    for offset in (0..bytes).step_by(1 << 20) {
        file.write_all_at(&(offset + 1).to_le_bytes(), offset).unwrap();
    }
    file.sync_all().unwrap();
}

#[test]
fn a_volume_four_times_as_large_takes_no_more_memory() {
    let Some(_) = ControlGroup::new("probe") else {
        eprintln!("not tested: this process may make no control groups");
        return;
    };
    let fixture = Fixture::new();
    let repository = fixture.url();
    let peak = |name: &str, args: &[&str]| {
        let group = ControlGroup::new(name).unwrap();
        let args = [args, &["--standalone", "--json", "--repo", &repository]].concat();
        Ran::of(&mut group.contain(&fixture.command(&args))).succeeded();
        group.peak_mib().unwrap()
    };
    let peaks = [4, 16].map(|gib| {
        let source = fixture.arg(&format!("{gib}-gib"));
        sparse(Path::new(&source), gib << 30);
        let target = format!("{source}-restored");
        let backup = peak("backup", &["backup", "create", &source]);
        let restore = peak("restore", &["restore", "latest", &target, "--source", &source]);
        fs::remove_file(target).unwrap();
        [backup, restore]
    });
    eprintln!("MiB at the peak of a backup and a restore, for 4 and 16 GiB: {peaks:?}");
    for (small, large) in peaks[0].into_iter().zip(peaks[1]) {
        assert!(large <= 192, "{large} MiB");
        assert!(large <= small + 16, "{small} MiB for 4 GiB, {large} MiB for 16 GiB");
    }
}
