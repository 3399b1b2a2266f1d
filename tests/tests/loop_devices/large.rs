//! How much is read of a large volume of which little changed.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use libtest_mimic::{Failed, Trial};
use thinmover_tests::fixtures::{MIB, ThinPool, ThinPoolLayout, rounds};

use crate::incremental::Host;

const CHUNK: u64 = MIB;
/// The 16 blocks that are read again in any case.
const SPOT_CHECK: u64 = 16 * 256 * 1024;

/// What udev and LVM look at on the way.
const PROBES: u64 = 4 * MIB;

pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("of_a_large_volume_only_what_changed_is_read", little_changed)]
}

/// A fifth of the volume is mapped: 512 MiB, times the rounds of a long run; 40 make 20 GiB of 100.
fn little_changed() -> Result<(), Failed> {
    let chunks = u64::from(rounds(512));
    let data_bytes = (chunks + chunks / 4) * CHUNK + 64 * MIB;
    let host = Host::in_pool(
        ThinPool::with_layout(ThinPoolLayout {
            disk_bytes: data_bytes + 64 * MIB,
            data_bytes,
            chunk_bytes: CHUNK,
            // A block written maps a chunk, and the file below stays sparse.
            options: "-Zn",
            ..ThinPoolLayout::default()
        }),
        5 * chunks * CHUNK,
    );
    let volume = File::options().write(true).open(&host.volume.path)?;
    for chunk in 0..chunks {
        volume.write_all_at(&(chunk + 1).to_le_bytes().repeat(512), chunk * 5 * CHUNK)?;
    }
    volume.sync_all()?;
    // By the report, and by the kernel's count for the pool's data.
    let data = fs::read_link(host.pool_device("tdata"))?;
    let counts = format!("/sys/class/block/{}/stat", data.file_name().unwrap().display());
    let counted = || {
        let counts = fs::read_to_string(&counts).unwrap();
        counts.split_whitespace().nth(2).unwrap().parse::<u64>().unwrap() * 512
    };
    let back_up = |tier: &str, at_most: u64| {
        let before = counted();
        let report = host.job(0, &["backup", "create", &host.volume.name]);
        let counted = counted() - before;
        eprintln!("{counted} bytes were read from the pool: {report}");
        assert_eq!(report["tier"], tier, "{report}");
        assert!(report["readBytes"].as_u64().unwrap() <= at_most, "{report}");
        assert!(counted <= at_most + PROBES, "{counted} bytes were read from the pool: {report}");
    };
    back_up("allocated", chunks * CHUNK);
    back_up("changed", SPOT_CHECK);
    // Of two chunks, one of them new.
    host.write(chunks / 2 * 5 * CHUNK + MIB / 2, MIB);
    back_up("changed", 4 * MIB + SPOT_CHECK);
    Ok(())
}
