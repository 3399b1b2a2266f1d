//! Uploads read what the pool has chunks for, and all of the volume where that cannot be known.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use thinmover_tests::fixtures::{HostState, MIB, lvm, run};

use crate::job::{Host, assert_equal, end, id, random_file};

const GIB: u64 = 1024 * MIB;
const CHUNK: u64 = 64 * 1024;
const IMAGE_BLOCK: u64 = 256 * 1024;

/// What a job is at while it reads the pool's metadata, or waits for it.
const METADATA: &str = "reading the pool's metadata";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("of_a_mostly_empty_volume_only_the_mapped_part_is_read", mostly_empty),
        Trial::test("a_volume_that_was_shrunk_is_read_up_to_its_end", shrunk),
        Trial::test("what_an_external_origin_has_is_read_in_full", external_origin),
        Trial::test("another_programs_metadata_snapshot_is_waited_for_and_left_alone", held),
    ]
}

/// 100 GiB with a few chunks here and there, the first and the last among them.
fn mostly_empty() -> Result<(), Failed> {
    let host = Host::with_ext4();
    let volume = host.pool.volume("empty", 100 * GIB);
    let written = [0, GIB + CHUNK, 50 * GIB - CHUNK, 50 * GIB, 100 * GIB - CHUNK];
    let chunk: Vec<u8> = (0..CHUNK).map(|n| n.to_le_bytes()[0] | 1).collect();
    let device = File::options().write(true).open(&volume.path)?;
    for offset in written {
        device.write_all_at(&chunk, offset)?;
    }
    device.sync_all()?;
    let before = HostState::now();
    let report = host.run(0, &["backup", "create", &volume.name]);
    assert_tier(&report, "allocated", "no-base");
    assert_eq!(report["totalBytes"], 100 * GIB);
    let read = report["readBytes"].as_u64().unwrap();
    assert!(read <= written.len() as u64 * IMAGE_BLOCK, "{report}");
    before.assert_unchanged();

    let copy = host.thinmover.scratch().join("copy");
    host.run(0, &["restore", &id(&report), copy.to_str().unwrap()]);
    let restored = File::open(&copy)?;
    assert_eq!(restored.metadata()?.len(), 100 * GIB);
    let mut found = vec![0; chunk.len()];
    for offset in written {
        restored.read_exact_at(&mut found, offset)?;
        assert!(found == chunk, "at {offset}");
    }
    // Between them nothing but holes: not more is allocated than what was read.
    let allocated = run("du", &["--block-size=1".as_ref(), copy.as_os_str()]);
    let allocated: u64 = allocated.split_whitespace().next().unwrap().parse().unwrap();
    assert!(allocated <= read + MIB, "{allocated} bytes of {read}");
    Ok(())
}

/// What LVM cut off stays mapped beyond the end of the volume.
fn shrunk() -> Result<(), Failed> {
    let host = Host::with_ext4();
    let volume = host.pool.volume("shrunk", 64 * MIB);
    random_file(&volume.path, 64 * MIB);
    lvm(&format!("lvreduce --quiet --yes --force -L 24M {}", volume.name));
    back_up_and_compare(&host, &volume.name, &volume.path, ("allocated", "no-base"), 24 * MIB)
}

fn external_origin() -> Result<(), Failed> {
    let host = Host::with_ext4();
    let origin = host.pool.thick_volume("external", 16 * MIB);
    random_file(&origin.path, 16 * MIB);
    lvm(&format!("lvchange --quiet -an {}", origin.name));
    lvm(&format!("lvchange --quiet -pr {}", origin.name));
    let pool = host.pool.name();
    lvm(&format!("lvcreate --quiet -s --thinpool {pool} -n grown {}", origin.name));
    let volume = host.pool.existing("grown");
    File::options().write(true).open(&volume.path)?.write_all_at(b"changed", 5 * MIB)?;
    back_up_and_compare(&host, &volume.name, &volume.path, ("full", "external-origin"), 16 * MIB)
}

fn held() -> Result<(), Failed> {
    let host = Host::with_ext4();
    host.write_file("file", 4 * MIB);
    let message = |message| host.pool.message(message);
    let before = HostState::now();

    message("reserve_metadata_snap");
    let mut job =
        host.spawn(&["backup", "create", &host.data.name, "--json", "--progress", "json"]);
    // A line a second. It comes to the metadata while that is held, and stays there.
    let progress = BufReader::new(job.stderr.take().unwrap());
    let phases = progress.lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()));
    let mut phases = phases.map(|line| line.unwrap()["phase"].clone());
    assert!(phases.any(|phase| phase == METADATA), "it never came to the metadata");
    assert!(phases.by_ref().take(3).all(|phase| phase == METADATA), "it did not wait");
    message("release_metadata_snap");
    let (status, report) = end(job);
    assert_eq!(status, Some(0), "{report}");
    assert_tier(&report, "allocated", "no-base");
    before.assert_unchanged();

    message("reserve_metadata_snap");
    let held = HostState::now();
    let report = host.run(5, &["backup", "create", &host.data.name]);
    assert_tier(&report, "full", "metadata-held");
    let warning = report["warnings"][0].as_str().unwrap();
    assert!(warning.contains("release_metadata_snap"), "{warning}");
    held.assert_unchanged();
    message("release_metadata_snap");
    before.assert_unchanged();
    host.verify_all();
    Ok(())
}

#[track_caller]
fn assert_tier(report: &Value, tier: &str, reason: &str) {
    assert_eq!((&report["tier"], &report["reason"]), (&tier.into(), &reason.into()), "{report}");
}

/// Backs up a volume of `bytes` that nobody writes to and compares what comes back.
fn back_up_and_compare(
    host: &Host,
    name: &str,
    device: &Path,
    (tier, reason): (&str, &str),
    bytes: u64,
) -> Result<(), Failed> {
    let before = HostState::now();
    let report = host.run(0, &["backup", "create", name]);
    assert_tier(&report, tier, reason);
    assert_eq!(report["totalBytes"], bytes);
    before.assert_unchanged();
    let copy = host.thinmover.scratch().join("copy");
    host.run(0, &["restore", &id(&report), copy.to_str().unwrap()]);
    assert_equal(&copy, device);
    Ok(())
}
