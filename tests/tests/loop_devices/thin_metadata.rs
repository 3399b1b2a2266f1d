//! A live pool's own metadata: `thinmover thin` finds in it what thin-provisioning-tools find, while
//! the pool is written to, and never what the page cache kept of an earlier time.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use thinmover_tests::fixtures::{
    HostState, MIB, ThinPool, Thinmover, Volume, Writer, lvm, rounds, run,
};

const CHUNK: u64 = CHUNK_BYTES as u64;
const CHUNK_BYTES: usize = 65536;
/// Longer than a few MiB take in an emulated guest on a busy host.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("a_live_pools_metadata_is_read_as_the_tools_read_it", as_the_tools),
        Trial::test("a_live_pools_metadata_is_refused_without_a_snapshot_of_it", refused),
        Trial::test("a_page_cache_with_older_metadata_is_not_what_is_read", never_stale),
    ]
}

/// A pool's metadata and what reads it.
struct Metadata {
    pool: ThinPool,
    thinmover: Thinmover,
}

/// Of each device its numbers as the tools name them, and chunk → (chunk of the pool, time).
type Devices = BTreeMap<u64, (BTreeMap<&'static str, u64>, BTreeMap<u64, (u64, u64)>)>;

/// Chunk → `written` or `discarded`.
type Delta = BTreeMap<u64, &'static str>;

impl Metadata {
    fn new() -> Self {
        Self { pool: ThinPool::new(), thinmover: Thinmover::new() }
    }

    /// The name that device-mapper has for a part of the pool.
    fn mapped_name(&self, part: &str) -> String {
        format!("{}-pool{part}", self.pool.group.replace('-', "--"))
    }

    /// The metadata device.
    fn device(&self) -> String {
        format!("/dev/mapper/{}", self.mapped_name("_tmeta"))
    }

    fn message(&self, message: &str) {
        run("dmsetup", &["message", &self.mapped_name("-tpool"), "0", message]);
    }

    /// Where the metadata snapshot is, by the pool's status line.
    fn held_root(&self) -> Option<u64> {
        let status = run("dmsetup", &["status", &self.mapped_name("-tpool")]);
        status.split_whitespace().nth(6).unwrap().parse().ok()
    }

    fn document(&self, status: i32, words: &[&str]) -> Value {
        self.thinmover.json(status, &[&["thin"], words].concat())
    }

    fn dump(&self, metadata: &str) -> Devices {
        let dump = self.document(0, &["dump", metadata]);
        assert_eq!(dump["heldRoot"].as_u64(), self.held_root());
        let mut devices = Devices::new();
        for device in dump["devices"].as_array().unwrap() {
            let number = |key: &str| device[key].as_u64().unwrap();
            let numbers = [
                ("mapped_blocks", "mappedChunks"),
                ("transaction", "transactionId"),
                ("creation_time", "creationTime"),
                ("snap_time", "snapshottedTime"),
            ];
            let numbers = numbers.map(|(theirs, ours)| (theirs, number(ours)));
            let mut mappings = BTreeMap::new();
            for run in device["mappings"].as_array().unwrap() {
                let [thin, data, chunks, time] =
                    ["thin", "data", "chunks", "time"].map(|key| run[key].as_u64().unwrap());
                mappings.extend((0..chunks).map(|step| (thin + step, (data + step, time))));
            }
            devices.insert(number("id"), (numbers.into(), mappings));
        }
        devices
    }

    fn delta(&self, from: u64, to: u64) -> Delta {
        let (from, to) = (from.to_string(), to.to_string());
        let delta = self.document(0, &["delta", &self.device(), "--from", &from, "--to", &to]);
        assert_eq!(delta["heldRoot"].as_u64(), self.held_root());
        let mut changes = Delta::new();
        for range in delta["ranges"].as_array().unwrap() {
            let [offset, length] = ["offset", "length"].map(|key| range[key].as_u64().unwrap());
            let change = match range["change"].as_str().unwrap() {
                "written" => "written",
                "discarded" => "discarded",
                other => panic!("{other}"),
            };
            let chunks = offset / CHUNK..(offset + length) / CHUNK;
            changes.extend(chunks.map(|chunk| (chunk, change)));
        }
        changes
    }

    /// What `thin_dump` finds. From 1.0 on it prints what devices share only once, as a `def` before
    /// them, to which a `ref` in each refers.
    fn their_dump(&self) -> Devices {
        let mut devices = Devices::new();
        let mut shared = BTreeMap::new();
        // Of what is open, a device or a `def`.
        let mut mappings = BTreeMap::new();
        let mut opened = String::new();
        for line in run("thin_dump", &["-m", &self.device()]).lines() {
            let run = match element(line) {
                "device" | "def" => {
                    opened = line.to_owned();
                    continue;
                }
                "/device" => {
                    let numbers = ["mapped_blocks", "transaction", "creation_time", "snap_time"];
                    let numbers = numbers.map(|name| (name, attribute(&opened, name)));
                    let mappings = std::mem::take(&mut mappings);
                    devices.insert(attribute(&opened, "dev_id"), (numbers.into(), mappings));
                    continue;
                }
                "/def" => {
                    let name = text(&opened, "name").to_owned();
                    shared.insert(name, std::mem::take(&mut mappings));
                    continue;
                }
                "ref" => {
                    mappings.extend(&shared[text(line, "name")]);
                    continue;
                }
                "single_mapping" => ["origin_block", "data_block", ""],
                "range_mapping" => ["origin_begin", "data_begin", "length"],
                _ => continue,
            };
            let [thin, data, chunks] =
                run.map(|name| if name.is_empty() { 1 } else { attribute(line, name) });
            let time = attribute(line, "time");
            mappings.extend((0..chunks).map(|step| (thin + step, (data + step, time))));
        }
        devices
    }

    /// What `thin_delta` finds.
    fn their_delta(&self, from: u64, to: u64) -> Delta {
        let (from, to) = (from.to_string(), to.to_string());
        let words = ["-m", "--thin1", &from, "--thin2", &to, &self.device()];
        let mut changes = Delta::new();
        for line in run("thin_delta", &words).lines() {
            let change = match element(line) {
                "different" | "right_only" => "written",
                "left_only" => "discarded",
                _ => continue,
            };
            let begin = attribute(line, "begin");
            let chunks = begin..begin + attribute(line, "length");
            changes.extend(chunks.map(|chunk| (chunk, change)));
        }
        changes
    }
}

/// The name of the XML element on a line.
fn element(line: &str) -> &str {
    line.trim().trim_start_matches('<').split([' ', '>']).next().unwrap()
}

fn attribute(line: &str, name: &str) -> u64 {
    text(line, name).parse().unwrap()
}

fn text<'a>(line: &'a str, name: &str) -> &'a str {
    let value = line.split_once(&format!(" {name}=\"")).and_then(|(_, rest)| rest.split_once('"'));
    value.unwrap_or_else(|| panic!("{name} in {line}")).0
}

fn thin_id(volume: &Volume) -> u64 {
    lvm(&format!("lvs --noheadings -o thin_id {}", volume.name)).trim().parse().unwrap()
}

/// Writes chunks of a volume past the page cache, so that they are mapped when this returns.
fn write_chunks(volume: &Volume, chunks: impl IntoIterator<Item = u64>) {
    let file = File::options().write(true).open(&volume.path).unwrap();
    let block = [7; CHUNK_BYTES];
    for chunk in chunks {
        file.write_all_at(&block, chunk * CHUNK).unwrap();
    }
    file.sync_all().unwrap();
}

fn as_the_tools() -> Result<(), Failed> {
    let metadata = Metadata::new();
    let used = metadata.pool.volume("used", 320 * MIB);
    let mounted = used.format_xfs().mount();
    let writer = Writer::start(mounted.path());
    let wait_for_writes = || {
        let enough = writer.written_bytes() + 8 * MIB;
        let deadline = Instant::now() + PATIENCE;
        while writer.written_bytes() < enough {
            assert!(Instant::now() < deadline, "the application does not get on with its writes");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let volume = metadata.pool.volume("volume", 64 * MIB);
    let take = |when: &str| {
        [&used, &volume].map(|origin| {
            let name = format!("{}-{when}", origin.path.file_name().unwrap().display());
            lvm(&format!("lvcreate --quiet -s -n {name} {}", origin.name));
            thin_id(&metadata.pool.existing(&name))
        })
    };
    write_chunks(&volume, 0..600);
    wait_for_writes();
    let before = take("before");
    write_chunks(&volume, (0..400).step_by(5));
    let (offset, length) = ((450 * CHUNK).to_string(), (100 * CHUNK).to_string());
    run("blkdiscard", &["-o", &offset, "-l", &length, &volume.path.display().to_string()]);
    write_chunks(&volume, 700..720);
    wait_for_writes();
    let after = take("after");
    let host = HostState::now();

    for _ in 0..rounds(2) {
        metadata.message("reserve_metadata_snap");
        let begun = writer.written_bytes();
        let dump = metadata.dump(&metadata.device());
        let deltas = [0, 1].map(|at| metadata.delta(before[at], after[at]));
        assert!(writer.written_bytes() > begun, "nothing was written while it was read");
        wait_for_writes();
        assert!(dump == metadata.their_dump(), "thin_dump found something else");
        for (at, delta) in deltas.iter().enumerate() {
            assert_eq!(delta, &metadata.their_delta(before[at], after[at]));
        }
        let count = |change| deltas[1].values().filter(|&&found| found == change).count();
        assert_eq!((count("written"), count("discarded")), (80 + 20, 100));
        assert!(deltas[0].len() > 20, "{}", deltas[0].len());
        metadata.message("release_metadata_snap");
        wait_for_writes();
    }
    writer.stop();
    host.assert_unchanged();
    Ok(())
}

fn refused() -> Result<(), Failed> {
    let metadata = Metadata::new();
    let volume = metadata.pool.volume("data", 64 * MIB);
    write_chunks(&volume, 0..10);
    let id = thin_id(&volume).to_string();
    let before = HostState::now();
    let device = metadata.device();
    let questions = [
        vec!["dump", &device],
        vec!["delta", &device, "--from", &id, "--to", &id],
        vec!["delta", &device, "--device", &id, "--since-pool-time", "0"],
    ];
    for question in &questions {
        let refused = metadata.document(4, question)["error"].clone();
        assert_eq!(refused["code"], "busy", "{refused}");
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains("is in use by the active device"), "{refused}");
        let hint = refused["hint"].as_str().unwrap();
        assert!(hint.contains("dmsetup message POOL-tpool 0 reserve_metadata_snap"), "{refused}");
    }
    before.assert_unchanged();

    // As the hint has it.
    metadata.message("reserve_metadata_snap");
    for question in &questions {
        metadata.document(0, question);
    }
    let text = metadata.thinmover.run(&["thin", "dump", &device]).expect_status(0);
    let block = metadata.held_root().unwrap();
    let note = format!("note: reading the metadata snapshot in block {block}:");
    assert!(text.stderr.contains(&note), "{text:?}");
    metadata.message("release_metadata_snap");
    metadata.document(4, &questions[0]);
    before.assert_unchanged();
    Ok(())
}

/// An ordinary read goes on giving what it once gave: a reader of that kind would find the metadata
/// snapshot of then, whole and with the right checksums.
fn never_stale() -> Result<(), Failed> {
    let metadata = Metadata::new();
    let volume = metadata.pool.volume("data", 64 * MIB);
    write_chunks(&volume, 0..300);
    metadata.message("reserve_metadata_snap");
    let ordinary_read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(metadata.device())?.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let kept = ordinary_read()?;
    let then = metadata.dump(&metadata.device());
    metadata.message("release_metadata_snap");

    lvm(&format!("lvcreate --quiet -s -n before {}", volume.name));
    write_chunks(&volume, (0..300).step_by(3));
    write_chunks(&volume, 500..700);
    metadata.message("reserve_metadata_snap");
    let copy: PathBuf = metadata.thinmover.scratch().join("copy");
    let (from, to) = (format!("if={}", metadata.device()), format!("of={}", copy.display()));
    run("dd", &[&from, &to, "bs=1M", "iflag=direct", "status=none"]);
    assert!(ordinary_read()? == kept && fs::read(&copy)? != kept, "the page cache kept nothing");

    let now = metadata.dump(&metadata.device());
    assert!(now != then, "the metadata of an earlier time was read");
    let mapped = |id: u64| now[&id].1.len();
    let before = metadata.pool.existing("before");
    assert_eq!((mapped(thin_id(&volume)), mapped(thin_id(&before))), (500, 300));
    assert!(now == metadata.their_dump(), "thin_dump found something else");
    assert!(now == metadata.dump(&copy.display().to_string()), "a copy has something else");
    metadata.message("release_metadata_snap");
    Ok(())
}
