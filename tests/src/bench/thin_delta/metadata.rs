//! Metadata of a pool with two large devices, as `thin_restore` writes it and with scattered leaves.
//!
//! `thin_restore` puts the leaves of a tree one after the other, as no pool that has been in use for a
//! while has them. The layout is that of the kernel's drivers/md/persistent-data/dm-btree-internal.h
//! and dm-thin-metadata.c.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::bench::tools::output;
use crate::bench::volume::Random;

const BLOCK_BYTES: usize = 4096;
type Block = [u8; BLOCK_BYTES];

/// The devices' numbers.
pub(super) const FROM: u32 = 1;
/// As [`FROM`].
pub(super) const TO: u32 = 2;

/// So many chunks after each other are alike but for their last ones.
const SPAN: u64 = 16_384;
/// So many of a span the second device has elsewhere; one more it does not have.
const REWRITTEN: u64 = 100;

/// `BTREE_CSUM_XOR`, dm-btree-spine.c.
const NODE: u32 = 121_107;
const MAPPING_ROOT: usize = 320;
const FLAGS: usize = 4;
const LEAF: u32 = 2;
const ENTRIES: usize = 16;
const MAX_ENTRIES: usize = 20;
const KEYS: usize = 32;

/// Makes a metadata file in which each of two devices has about `mappings` mappings, and no node is
/// shared.
///
/// # Errors
/// When `thin_restore` fails or there is no room.
pub(super) fn restore(mappings: u64, file: &Path) -> Result<()> {
    let xml = file.with_extension("xml");
    write_xml(mappings, BufWriter::new(File::create(&xml)?))?;
    // Half-full leaves of 252 entries each, and what else there is.
    let blocks = mappings / 126 * 2 * 11 / 10 + (mappings >> 10) + 4096;
    File::create(file)?.set_len(blocks * BLOCK_BYTES as u64)?;
    let mut command = Command::new("thin_restore");
    command.arg("-q").arg("-i").arg(&xml).arg("-o").arg(file);
    output(with_sbin(command)).context("thin-provisioning-tools are needed")?;
    fs::remove_file(xml)?;
    Ok(())
}

/// The command, also where only root has its folder in the path.
pub(super) fn with_sbin(mut command: Command) -> Command {
    command.env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin");
    command
}

fn write_xml(mappings: u64, mut out: impl Write) -> Result<()> {
    writeln!(
        out,
        "<superblock uuid=\"\" time=\"1\" transaction=\"2\" flags=\"0\" version=\"2\" \
         data_block_size=\"128\" nr_data_blocks=\"{}\">",
        2 * mappings
    )?;
    let mut device = |id: u32, ranges: &mut dyn Iterator<Item = (u64, u64, u64, u32)>| {
        writeln!(
            out,
            "<device dev_id=\"{id}\" mapped_blocks=\"0\" transaction=\"{id}\" \
             creation_time=\"0\" snap_time=\"1\">"
        )?;
        for (thin, data, length, time) in ranges {
            writeln!(
                out,
                "<range_mapping origin_begin=\"{thin}\" data_begin=\"{data}\" \
                 length=\"{length}\" time=\"{time}\"/>"
            )?;
        }
        writeln!(out, "</device>")
    };
    device(FROM, &mut [(0, 0, mappings, 0)].into_iter())?;
    let alike = SPAN - REWRITTEN - 1;
    let spans = (0..mappings / SPAN).map(|span| span * SPAN);
    let ranges = |start| {
        let rewritten = start + alike;
        [(start, start, alike, 0), (rewritten, mappings + rewritten, REWRITTEN, 1)]
    };
    device(TO, &mut spans.flat_map(ranges))?;
    writeln!(out, "</superblock>")?;
    Ok(out.flush()?)
}

/// Copies the metadata in `from` to `to` with the leaves of all mapping trees in places exchanged by
/// chance, and returns how many those are. All else stays where it is, so that the space maps still
/// hold.
///
/// # Errors
/// When there are no such trees, or the files cannot be read or written.
pub(super) fn scatter(from: &Path, to: &Path, seed: u64) -> Result<usize> {
    fs::copy(from, to)?;
    let (source, target) = (File::open(from)?, File::options().write(true).open(to)?);
    let superblock = read(&source, 0)?;
    let mut parents = Vec::new();
    for root in children(&*read_node(&source, word(&superblock, MAPPING_ROOT))?) {
        find_parents(&source, root, &mut parents)?;
    }
    ensure!(!parents.is_empty(), "{} has no tree that is two nodes high", from.display());

    let places: Vec<u64> = parents.iter().flat_map(|(_, node)| children(node)).collect();
    let mut new_places = places.clone();
    let mut random = Random::new(seed, "scatter", 0);
    for last in (1..new_places.len()).rev() {
        new_places.swap(last, random.below(last + 1));
    }
    for (&place, &new_place) in places.iter().zip(&new_places) {
        write_node(&target, new_place, read_node(&source, place)?)?;
    }
    let mut remaining = new_places.iter();
    for (place, mut node) in parents {
        let values = values_from(&node);
        for (entry, new_place) in (0..entries(&node)).zip(remaining.by_ref()) {
            node[values + entry * 8..][..8].copy_from_slice(&new_place.to_le_bytes());
        }
        write_node(&target, place, node)?;
    }
    target.sync_all()?;
    Ok(places.len())
}

/// Collects the nodes above leaves, in the order of their keys.
fn find_parents(file: &File, place: u64, parents: &mut Vec<(u64, Box<Block>)>) -> Result<()> {
    let node = read_node(file, place)?;
    if is_leaf(&node) {
        return Ok(());
    }
    let children = children(&node);
    let Some(&first) = children.first() else { return Ok(()) };
    if is_leaf(&*read_node(file, first)?) {
        parents.push((place, node));
        return Ok(());
    }
    children.into_iter().try_for_each(|child| find_parents(file, child, parents))
}

fn read(file: &File, place: u64) -> Result<Box<Block>> {
    let mut block = Box::new([0; BLOCK_BYTES]);
    file.read_exact_at(&mut *block, place * BLOCK_BYTES as u64)
        .with_context(|| format!("cannot read metadata block {place}"))?;
    Ok(block)
}

fn read_node(file: &File, place: u64) -> Result<Box<Block>> {
    let block = read(file, place)?;
    let is_node = half_word(&block, 0) == checksum(&block) && word(&block, 8) == place;
    ensure!(is_node && entries(&block) <= 252, "metadata block {place} is no node");
    Ok(block)
}

fn write_node(file: &File, place: u64, mut block: Box<Block>) -> Result<()> {
    block[8..16].copy_from_slice(&place.to_le_bytes());
    let checksum = checksum(&block);
    block[..4].copy_from_slice(&checksum.to_le_bytes());
    Ok(file.write_all_at(&*block, place * BLOCK_BYTES as u64)?)
}

fn checksum(block: &Block) -> u32 {
    !crc32c::crc32c(&block[4..]) ^ NODE
}

fn is_leaf(node: &Block) -> bool {
    half_word(node, FLAGS) & LEAF != 0
}

fn entries(node: &Block) -> usize {
    half_word(node, ENTRIES) as usize
}

/// Where the values begin, in bytes.
fn values_from(node: &Block) -> usize {
    KEYS + half_word(node, MAX_ENTRIES) as usize * 8
}

/// Its values, where those are blocks.
fn children(node: &Block) -> Vec<u64> {
    let values = values_from(node);
    (0..entries(node)).map(|entry| word(node, values + entry * 8)).collect()
}

fn word(block: &Block, offset: usize) -> u64 {
    block[offset..].first_chunk().copied().map_or(0, u64::from_le_bytes)
}

fn half_word(block: &Block, offset: usize) -> u32 {
    block[offset..].first_chunk().copied().map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_metadata_is_sound_and_says_the_same() {
        let folder = tempfile::tempdir_in(crate::workspace::target_directory()).unwrap();
        let [ordered, scattered] = ["ordered", "scattered"].map(|name| folder.path().join(name));
        restore(4 * SPAN, &ordered).unwrap();
        let leaves = scatter(&ordered, &scattered, 1).unwrap();
        assert!(leaves as u64 > 8 * SPAN / 252, "{leaves}");
        let run = |tool: &str, words: &[&str], file: &Path| {
            let mut command = Command::new(tool);
            command.args(words).arg(file);
            output(with_sbin(command)).unwrap()
        };
        run("thin_check", &["-q"], &scattered);
        assert_eq!(run("thin_dump", &[], &scattered), run("thin_dump", &[], &ordered));
        let places = |file: &Path| {
            let file = File::open(file).unwrap();
            let root = word(&read(&file, 0).unwrap(), MAPPING_ROOT);
            let mut parents = Vec::new();
            for root in children(&read_node(&file, root).unwrap()) {
                find_parents(&file, root, &mut parents).unwrap();
            }
            parents.iter().flat_map(|(_, node)| children(node)).collect::<Vec<u64>>()
        };
        let neighbours = |file: &Path| {
            places(file).windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 3).count()
        };
        assert!(neighbours(&ordered) > leaves / 2, "{}", neighbours(&ordered));
        assert!(neighbours(&scattered) < leaves / 10, "{}", neighbours(&scattered));
    }
}
