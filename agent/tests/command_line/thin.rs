//! `thinmover thin`, on metadata that `thin_restore` makes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::fixture::{Fixture, Ran};

const CHUNK: u64 = 128 * 512;

/// Thin block → (data block, time).
type Mappings = BTreeMap<u64, (u64, u32)>;

/// Metadata of devices with these mappings.
fn metadata(fixture: &Fixture, devices: &[(u32, Mappings)]) -> String {
    let mut xml = "<superblock uuid=\"\" time=\"3\" transaction=\"7\" flags=\"0\" version=\"2\" \
                   data_block_size=\"128\" nr_data_blocks=\"9000\">\n"
        .to_owned();
    for (id, mappings) in devices {
        let _ = writeln!(
            xml,
            "<device dev_id=\"{id}\" mapped_blocks=\"{}\" transaction=\"1\" creation_time=\"0\" \
             snap_time=\"2\">",
            mappings.len()
        );
        for (thin, (data, time)) in mappings {
            let _ = writeln!(
                xml,
                "<single_mapping origin_block=\"{thin}\" data_block=\"{data}\" time=\"{time}\"/>"
            );
        }
        xml += "</device>\n";
    }
    fs::write(fixture.path("xml"), xml + "</superblock>\n").unwrap();
    fs::File::create(fixture.path("metadata")).unwrap().set_len(4 << 20).unwrap();
    let restored = Command::new("thin_restore")
        .env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/sbin")
        .args(["-q", "-i", &fixture.arg("xml"), "-o", &fixture.arg("metadata")])
        .status()
        .unwrap_or_else(|error| panic!("thin_restore of thin-provisioning-tools: {error}"));
    assert!(restored.success());
    fixture.arg("metadata")
}

/// A device and what became of it: one chunk rewritten, two gone, one new.
fn two_devices(fixture: &Fixture) -> String {
    let before: Mappings = (0..10).map(|thin| (thin, (thin + 100, 0))).collect();
    let mut after = before.clone();
    after.insert(2, (200, 2));
    after.remove(&5);
    after.remove(&6);
    after.insert(40, (201, 3));
    metadata(fixture, &[(1, before), (7, after)])
}

/// Gives the metadata a metadata snapshot: the pool's superblock once more, in the last block, and
/// named by the pool's own, which no longer has devices itself.
fn hold(file: &str) -> u64 {
    const BLOCK: usize = 4096;
    let mut bytes = fs::read(file).unwrap();
    let held = bytes.len() / BLOCK - 1;
    bytes.copy_within(..BLOCK, held * BLOCK);
    let (own, rest) = bytes.split_at_mut(BLOCK);
    own[56..64].copy_from_slice(&(held as u64).to_le_bytes());
    // The root of its mappings: the superblock is no node.
    own[320..328].fill(0);
    let copy = &mut rest[(held - 1) * BLOCK..];
    copy[8..16].copy_from_slice(&(held as u64).to_le_bytes());
    for block in [own, copy] {
        // SUPERBLOCK_CSUM_XOR of the kernel's dm-thin-metadata.c.
        let checksum = crc32c(&block[4..]) ^ 160_774;
        block[..4].copy_from_slice(&checksum.to_le_bytes());
    }
    fs::write(file, bytes).unwrap();
    held as u64
}

/// As the kernel's crc32c() has it: without the final inversion.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

fn document(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn a_dump_has_every_device_and_its_mappings() {
    let fixture = Fixture::empty();
    let file = two_devices(&fixture);
    let all = document(&fixture.run(&["--json", "thin", "dump", &file]));
    assert_eq!(all["chunkBytes"], CHUNK);
    assert_eq!((&all["time"], &all["heldRoot"]), (&json!(3), &Value::Null));
    assert_eq!(
        all["devices"][0],
        json!({
            "id": 1, "mappedChunks": 10, "transactionId": 1, "creationTime": 0,
            "snapshottedTime": 2,
            "mappings": [{ "thin": 0, "data": 100, "chunks": 10, "time": 0 }],
        })
    );
    assert_eq!(all["devices"].as_array().unwrap().len(), 2);
    let one = document(&fixture.run(&["--json", "thin", "dump", &file, "--device", "7"]));
    assert_eq!(one["devices"], json!([all["devices"][1]]));
    let text = fixture.run(&["thin", "dump", &file]);
    assert_eq!(text.code, 0);
    assert!(text.stdout.contains("Device 7: 9 chunks (576.0 KiB) mapped"), "{text:?}");
}

#[test]
fn a_delta_is_what_was_written_and_what_was_discarded() {
    let fixture = Fixture::empty();
    let file = two_devices(&fixture);
    let delta = ["--json", "thin", "delta", &file, "--from", "1", "--to", "7"];
    let delta = document(&fixture.run(&delta));
    let range = |first: u64, chunks: u64, change: &str| json!({ "offset": first * CHUNK, "length": chunks * CHUNK, "change": change });
    assert_eq!(delta["chunkBytes"], CHUNK);
    assert_eq!(
        delta["ranges"],
        json!([range(2, 1, "written"), range(5, 2, "discarded"), range(40, 1, "written")])
    );
    let back = ["--json", "thin", "delta", &file, "--from", "7", "--to", "1"];
    assert_eq!(
        document(&fixture.run(&back))["ranges"],
        json!([range(2, 1, "written"), range(5, 2, "written"), range(40, 1, "discarded")])
    );
}

#[test]
fn what_was_written_since_a_time_is_listed_and_that_discards_are_not() {
    let fixture = Fixture::empty();
    let file = two_devices(&fixture);
    let since = ["thin", "delta", &file, "--device", "7", "--since-pool-time", "2"];
    let found = document(&fixture.run(&[&["--json"], &since[..]].concat()));
    let offsets: Vec<u64> =
        found["ranges"].as_array().unwrap().iter().filter_map(|r| r["offset"].as_u64()).collect();
    assert_eq!(offsets, [2 * CHUNK, 40 * CHUNK]);
    assert_eq!(found["discardsSeen"], false);
    assert_eq!(found.get("discardedBytes"), None);
    let text = fixture.run(&since);
    assert!(text.stdout.contains("Discards since then cannot be seen this way."), "{text:?}");
}

#[test]
fn an_answer_from_a_metadata_snapshot_says_so() {
    let fixture = Fixture::empty();
    let file = two_devices(&fixture);
    let dump = ["thin", "dump", &file];
    let delta = ["thin", "delta", &file, "--from", "1", "--to", "7"];
    let since = ["thin", "delta", &file, "--device", "7", "--since-pool-time", "2"];
    let questions = [&dump[..], &delta, &since];
    let ask = |question: &[&str]| {
        let ran = fixture.run(&[&["--json"], question].concat());
        (document(&ran), fixture.run(question), ran)
    };
    let before = questions.map(ask);
    let block = hold(&file);
    for (question, (own, own_text, _)) in questions.into_iter().zip(before) {
        let (held, text, ran) = ask(question);
        assert_eq!((&own["heldRoot"], own_text.stderr.as_str()), (&Value::Null, ""));
        assert_eq!((&held["heldRoot"], ran.stderr.as_str()), (&json!(block), ""));
        for part in ["devices", "ranges"] {
            assert_eq!(held.get(part), own.get(part));
        }
        let note = format!(
            "thinmover: note: reading the metadata snapshot in block {block}: the pool as it was \
             when that was made\n"
        );
        assert_eq!((text.code, text.stderr), (0, note));
    }
}

#[test]
fn damage_that_is_met_on_the_way_ends_an_answer_that_is_one_document() {
    let fixture = Fixture::empty();
    let file = metadata(&fixture, &[(1, (0..2000).map(|thin| (thin * 2, (thin, 0))).collect())]);
    damage_a_late_leaf(Path::new(&file));
    let dump = fixture.run(&["--json", "thin", "dump", &file]);
    assert_eq!(dump.code, 1);
    let document = document(&dump);
    assert_eq!(document["error"]["code"], "damaged");
    let mappings = document["devices"][0]["mappings"].as_array().unwrap().len();
    assert!((1..2000).contains(&mappings), "{mappings}");
    let message = document["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("metadata block "), "{message}");
    assert!(dump.stderr.contains(message), "{dump:?}");
}

/// Flips a bit in the leaf with the largest keys.
fn damage_a_late_leaf(file: &Path) {
    const LEAF: [u8; 4] = [2, 0, 0, 0];
    let mut bytes = fs::read(file).unwrap();
    let first_key = |block: &[u8]| u64::from_le_bytes(block[32..40].try_into().unwrap());
    let leaves = bytes.chunks_mut(4096).filter(|block| block[4..8] == LEAF);
    let last = leaves.max_by_key(|block| first_key(block)).unwrap();
    last[100] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn what_is_no_metadata_and_what_is_not_in_it_are_refused_before_an_answer() {
    let fixture = Fixture::empty();
    let file = two_devices(&fixture);
    let text = fixture.image("text", &[7; 8192]);
    for (args, code, error) in [
        (&["dump", &text][..], 4, "unsuitable"),
        (&["dump", "/nowhere/at/all"], 3, "not-found"),
        (&["dump", &file, "--device", "9"], 3, "not-found"),
        (&["delta", &file, "--from", "1", "--to", "9"], 3, "not-found"),
        (&["delta", &file, "--from", "1"], 2, "usage"),
        (&["delta", &file, "--device", "16777216", "--since-pool-time", "1"], 2, "usage"),
        (&["delta", &file, "--device", "1", "--since-pool-time", "1", "--to", "7"], 2, "usage"),
    ] {
        let ran = fixture.run(&[&["--json", "thin"], args].concat());
        assert_eq!((ran.code, &document(&ran)["error"]["code"]), (code, &json!(error)), "{ran:?}");
    }
}
