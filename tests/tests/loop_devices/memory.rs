//! What the agent takes in memory does not grow with the volume.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use thinmover_tests::fixtures::{MIB, run};

use crate::job::{Host, id};
use crate::service::{Service, can_run};

/// The kernel's own count for the whole service, its share of the page cache included
/// (Documentation/admin-guide/cgroup-v2.rst, since Linux 5.19).
const PEAK: &str = "/sys/fs/cgroup/system.slice/thinmover.service/memory.peak";

const GIB: u64 = 1 << 30;

pub(crate) fn trials() -> Vec<Trial> {
    [Trial::test("a_volume_four_times_as_large_takes_no_more_memory", peak)]
        .map(|trial| trial.with_ignored_flag(!can_run()))
        .into()
}

fn peak() -> Result<(), Failed> {
    let service = Service::new(Host::with_ext4());
    let peaks = [4, 16].map(|gib| {
        let source = service.host.thinmover.scratch().join(format!("{gib}-gib"));
        sparse(&source, gib * GIB);
        (backup_peak(&service, &source), restore_peak(&service, &source))
    });
    let [(backup_4, restore_4), (backup_16, restore_16)] = peaks;
    eprintln!(
        "peak of a backup {backup_4} and {backup_16} MiB, of a restore {restore_4} and {restore_16} MiB"
    );
    for (small, large) in [(backup_4, backup_16), (restore_4, restore_16)] {
        assert!(large <= 192, "{large} MiB");
        assert!(large <= small + 16, "{small} MiB for 4 GiB, {large} MiB for 16 GiB");
    }
    Ok(())
}

/// A file with bytes of its own at the beginning of each MiB, and holes between, which take no room.
fn sparse(path: &Path, bytes: u64) {
    let file = File::create(path).unwrap();
    file.set_len(bytes).unwrap();
    for offset in (0..bytes).step_by(1 << 20) {
        file.write_all_at(&(offset + 1).to_le_bytes(), offset).unwrap();
    }
    file.sync_all().unwrap();
}

fn backup_peak(service: &Service, source: &Path) -> u64 {
    let source = source.display().to_string();
    let backup = service.json(0, &["backup", "create", &source]);
    assert!(id(&backup).len() > 8);
    peak_mib_then_stop()
}

fn restore_peak(service: &Service, source: &Path) -> u64 {
    let source = source.display().to_string();
    let target = format!("{source}-restored");
    service.json(0, &["restore", "latest", &target, "--source", &source]);
    let peak = peak_mib_then_stop();
    run("cmp", &[&source, &target]);
    fs::remove_file(target).unwrap();
    peak
}

/// The next command starts another agent, and counts anew.
fn peak_mib_then_stop() -> u64 {
    let peak: u64 = fs::read_to_string(PEAK).unwrap().trim().parse().unwrap();
    run("systemctl", &["stop", "thinmover.service"]);
    peak / MIB
}
