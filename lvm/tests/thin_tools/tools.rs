//! `thin_restore`, `thin_dump` and `thin_delta`, and what they print.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use thinmover_lvm::dm_thin::Change;

use crate::pool::{Device, Mappings, Pool};

/// What became of a chunk: one that only the new device has, or has elsewhere, was written.
pub(crate) type Differences = BTreeMap<u64, Change>;

/// Runs one of the tools, which some systems keep where only root looks.
fn run(tool: &str, arguments: &[&str], file: &Path) -> String {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let ran = Command::new(tool)
        .env("PATH", path)
        .args(arguments)
        .arg(file)
        .output()
        .unwrap_or_else(|error| panic!("{tool} of thin-provisioning-tools: {error}"));
    let (stdout, stderr) =
        (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{tool} {arguments:?} failed: {stdout}{stderr}");
    stdout.into_owned()
}

/// Metadata of `pool` in a file of that name in `folder`.
pub(crate) fn restore(pool: &Pool, folder: &Path, name: &str) -> PathBuf {
    const BYTES: u64 = 32 << 20;
    let (xml, metadata) = (folder.join(format!("{name}.xml")), folder.join(name));
    fs::write(&xml, pool.xml()).unwrap();
    File::create(&metadata).unwrap().set_len(BYTES).unwrap();
    run("thin_restore", &["-q", "-i", &xml.display().to_string(), "-o"], &metadata);
    metadata
}

/// What `thin_dump` finds, with these options. From 1.0 on it prints what devices share only once, as a
/// `def` before them, to which a `ref` in each refers.
pub(crate) fn dump(metadata: &Path, options: &[&str]) -> Pool {
    let mut pool = Pool::default();
    let mut shared: BTreeMap<String, Mappings> = BTreeMap::new();
    // Of what is open, a device or a `def`.
    let (mut name, mut mappings) = (String::new(), Mappings::new());
    for element in run("thin_dump", options, metadata).lines().map(Element::parse) {
        match element.name.as_str() {
            "superblock" => {
                pool.time = element.number("time") as u32;
                pool.transaction = element.number("transaction");
                pool.chunk_sectors = element.number("data_block_size") as u32;
                pool.data_blocks = element.number("nr_data_blocks");
            }
            "device" => {
                let device = Device {
                    mapped: element.number("mapped_blocks"),
                    transaction: element.number("transaction"),
                    creation_time: element.number("creation_time") as u32,
                    snapshotted_time: element.number("snap_time") as u32,
                    mappings: BTreeMap::new(),
                };
                pool.devices.insert(element.number("dev_id") as u32, device);
            }
            "def" => name = element.text("name").to_owned(),
            "ref" => mappings.extend(&shared[element.text("name")]),
            "single_mapping" => {
                let place = (element.number("data_block"), element.number("time") as u32);
                mappings.insert(element.number("origin_block"), place);
            }
            "range_mapping" => {
                let (thin, data) = (element.number("origin_begin"), element.number("data_begin"));
                let time = element.number("time") as u32;
                let chunks = 0..element.number("length");
                mappings.extend(chunks.map(|step| (thin + step, (data + step, time))));
            }
            "/def" => drop(shared.insert(name.clone(), std::mem::take(&mut mappings))),
            "/device" => {
                if let Some(mut last) = pool.devices.last_entry() {
                    last.get_mut().mappings = std::mem::take(&mut mappings);
                }
            }
            "/superblock" => {}
            other => panic!("thin_dump printed {other:?}"),
        }
    }
    pool
}

/// What `thin_delta` finds, with these options, chunk by chunk; what is the same is left out.
pub(crate) fn delta(metadata: &Path, options: &[&str], from: u32, to: u32) -> Differences {
    let (from, to) = (from.to_string(), to.to_string());
    let mut found = Differences::new();
    let words = [options, &["--thin1", &from, "--thin2", &to]].concat();
    let printed = run("thin_delta", &words, metadata);
    for element in printed.lines().map(Element::parse) {
        let change = match element.name.as_str() {
            "different" | "right_only" => Change::Written,
            "left_only" => Change::Discarded,
            _ => continue,
        };
        let begin = element.number("begin");
        let chunks = begin..begin + element.number("length");
        found.extend(chunks.map(|chunk| (chunk, change)));
    }
    found
}

/// One line of the tools' XML: an element with its attributes, or the end of one.
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
}

impl Element {
    fn parse(line: &str) -> Self {
        let text = line.trim().trim_start_matches('<').trim_end_matches(['>', '/']);
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        let attributes = rest
            .split_whitespace()
            .filter_map(|attribute| attribute.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
            .collect();
        Self { name: name.to_owned(), attributes }
    }

    fn text(&self, name: &str) -> &str {
        self.attributes.get(name).unwrap_or_else(|| panic!("{name} of {}", self.name))
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or_else(|error| panic!("{name} of {}: {error}", self.name))
    }
}
