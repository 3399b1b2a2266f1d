//! Pools of every shape: chunks beside image blocks of another size, volumes that end within both, and
//! pools that do not zero what they hand out or do not take back what is discarded. Chunks of 64 KiB are
//! everywhere else.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use thinmover_tests::fixtures::{Finished, MIB, ThinPool, ThinPoolLayout, rounds};

use crate::incremental::{HOLDS, Host, write_random};
use crate::job::{assert_equal, id};

const KIB: u64 = 1024;
const GIB: u64 = 1024 * MIB;

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, shape: Shape| Trial::test(name, move || shape.holds());
    let mut trials =
        vec![trial("chunks_that_are_no_power_of_two_are_backed_up_and_restored", UNEVEN)];
    if rounds(1) > 1 {
        trials.extend([
            // The kernel zeroes a whole one for the first sector that is written.
            Trial::test("chunks_of_a_gibibyte_are_backed_up_and_restored", largest),
            trial("chunks_larger_than_blocks_are_backed_up_and_restored", LARGE),
            trial("chunks_across_the_borders_of_large_blocks_are_backed_up_and_restored", WITHIN),
            trial("chunks_across_the_borders_of_small_blocks_are_backed_up_and_restored", ACROSS),
        ]);
    }
    trials
}

/// A pool with a volume of about 16 chunks or more, which ends within a chunk and within a block.
#[derive(Clone, Copy)]
struct Shape {
    chunk: u64,
    /// An image block.
    block: u64,
    size: u64,
    /// For the `lvcreate` that makes the pool.
    options: &'static str,
}

const UNEVEN: Shape = Shape {
    chunk: 192 * KIB,
    block: 256 * KIB,
    size: 16 * MIB + 68 * KIB,
    options: "-Zn --discards nopassdown",
};
const WITHIN: Shape = Shape {
    chunk: 320 * KIB,
    block: 8 * MIB,
    size: 36 * MIB + 68 * KIB,
    options: "--discards passdown",
};
const ACROSS: Shape =
    Shape { chunk: 320 * KIB, block: 64 * KIB, options: "-Zn --discards passdown", ..UNEVEN };
const LARGE: Shape = Shape { chunk: MIB, options: "-Zn --discards ignore", ..UNEVEN };

impl Shape {
    fn holds(self) -> Result<(), Failed> {
        let Self { chunk, block, size, options } = self;
        let host = Host::in_pool(
            ThinPool::with_layout(ThinPoolLayout {
                disk_bytes: 160 * MIB,
                data_bytes: 96 * MIB,
                chunk_bytes: chunk,
                extent_bytes: 4 * KIB,
                options,
                ..ThinPoolLayout::default()
            }),
            size,
        );
        let block = block.to_string();
        let back_up = |tier| host.back_up_with(&["--block-size", &block], tier);
        if options.contains("-Zn") {
            // What such a pool shows beside the part of a new chunk that was written.
            write_random(Path::new(&host.pool_device("tdata")), 0, 96 * MIB);
        }
        host.write(0, 8 * chunk);
        host.write(12 * chunk, 3 * chunk);
        host.write(size / 2, chunk);
        back_up(("allocated", "no-base"));

        // In a chunk, across two, new ones in part, over the old end, and chunks that go, in part.
        host.write(2 * chunk + 512, 512);
        host.write(5 * chunk - 512, 1024);
        host.write(9 * chunk + chunk / 2, chunk);
        self.discard(&host, 12 * chunk - 4096, 2 * chunk + 8192);
        host.resize(size + 3 * chunk);
        host.write(size - 512, chunk);
        let last = back_up(HOLDS);

        // Over nothing, and over what else was written.
        let made = format!("{}/made", host.pool.group);
        host.job(0, &["restore", &id(&last), &made, "--create", &host.pool.name()]);
        let made = host.pool.existing("made");
        assert_equal(&made.path, &host.volume.path);
        self.discard(&host, 0, size);
        host.write(3 * chunk + 4096, 8 * chunk);
        host.job(0, &["restore", &id(&last), &host.volume.name, "--yes"]);
        assert_equal(&made.path, &host.volume.path);
        // In part, where chunks come into use that were not there.
        self.discard(&host, 0, 6 * chunk);
        host.write(8 * chunk + 512, 512);
        host.job(0, &["restore", &id(&last), &host.volume.name, "--yes", "--mode", "delta"]);
        assert_equal(&made.path, &host.volume.path);

        // To the middle of a chunk.
        host.resize(6 * chunk + chunk / 2);
        back_up(HOLDS);
        Ok(())
    }

    /// A pool that ignores discards gives volumes that refuse them.
    #[track_caller]
    fn discard(self, host: &Host, offset: u64, length: u64) {
        let (offset, length) = (format!("-o{offset}"), format!("-l{length}"));
        let mut command = Command::new("blkdiscard");
        let done = Finished::of(command.args([&offset, &length]).arg(&host.volume.path));
        done.expect_status(i32::from(self.options.contains("ignore")));
    }
}

/// The volume has a hole of one chunk, and a part of the next.
fn largest() -> Result<(), Failed> {
    let host = Host::in_pool(
        ThinPool::with_layout(ThinPoolLayout {
            disk_bytes: 6 * GIB,
            data_bytes: 5 * GIB,
            chunk_bytes: GIB,
            ..ThinPoolLayout::default()
        }),
        GIB + 20 * MIB,
    );
    host.write(GIB + 3 * MIB, MIB);
    host.back_up(("allocated", "no-base"));
    host.write(GIB + 8 * MIB, 512);
    host.resize(GIB + 12 * MIB);
    let report = host.back_up(HOLDS);
    assert!(report["readBytes"].as_u64().unwrap() <= 12 * MIB, "{report}");
    let target = host.pool.volume("target", GIB + 12 * MIB);
    write_random(&target.path, GIB - MIB, 4 * MIB);
    host.job(0, &["restore", &id(&report), &target.name, "--yes"]);
    assert_equal(&target.path, &host.volume.path);
    Ok(())
}
