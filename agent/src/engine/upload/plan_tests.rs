//! Plans over a base, on lists of chunks that are written down.
#![allow(clippy::single_range_in_vec_init)]

use super::*;
use jiff::Timestamp;
use thinmover_io::IoEngine;
use thinmover_repository::{
    Domain, InitOptions, ManifestDraft, Passphrase, PassphraseCost, ReadLimits, Repository, Source,
    UploadLimits, VolumeKey, open_store,
};

const KIB: u64 = 1024;
const CHUNK: u64 = 192 * KIB;
const BLOCK: u32 = 256 << 10;
const NOWHERE: &str = "/nonexistent";

/// A backup of a volume of `bytes`, of which only the list of its chunks matters.
fn base(folder: &Path, bytes: u64, mapped: &[Range<u64>]) -> Image {
    let store = format!("file://{}", folder.display());
    let store = open_store(&store, &IoEngine::default()).unwrap();
    let options =
        InitOptions { passphrase_cost: PassphraseCost::WORTHLESS, ..InitOptions::default() };
    let repository = Repository::init(store, &options, &Passphrase::new("secret")).unwrap();
    let (domain, volume) = (Domain("host".into()), VolumeKey("host/volume".into()));
    let upload = repository.begin_upload(&domain, &volume, UploadLimits::default()).unwrap();
    let mut image = upload.image_builder(bytes, BLOCK).unwrap();
    image.push_holes(bytes.div_ceil(u64::from(BLOCK))).unwrap();
    let mut list = upload.mapped_list_builder(u32::try_from(CHUNK).unwrap(), bytes).unwrap();
    for run in mapped {
        list.push(run.clone()).unwrap();
    }
    let draft = ManifestDraft {
        source: Source { name: "volume".into(), ..Source::default() },
        created_at: Timestamp::now(),
        tier: "allocated".into(),
        reason: "no-base".into(),
        image: image.finish().unwrap(),
        mapped: Some(list.finish().unwrap()),
        lineage: None,
        read_bytes: 0,
        labels: Default::default(),
        ttl: None,
        previous: None,
    };
    let manifest = upload.commit(draft).unwrap();
    repository.image(&manifest, ReadLimits::default()).unwrap()
}

fn runs(ranges: &[Range<u64>]) -> impl Iterator<Item = ranges::Item> + use<> {
    let ranges: Vec<_> = ranges.iter().cloned().map(Ok).collect();
    ranges.into_iter()
}

fn list(ranges: &[Range<u64>]) -> ChunkList {
    ChunkList::collect(Path::new(NOWHERE), runs(ranges)).unwrap()
}

/// What becomes of which range of a volume of `bytes` that has the chunks `mapped`, of which those
/// `written` are of the base's time or later; or which range contradicts the base.
fn planned(
    base: &Image,
    bytes: u64,
    mapped: &[Range<u64>],
    written: &[Range<u64>],
) -> Result<Vec<(Range<u64>, Part)>, Range<u64>> {
    let mut plan = ReadPlan::allocated(list(mapped), Bytes(CHUNK), Bytes(bytes), BLOCK);
    let since = plan.since(list(written), base, Path::new(NOWHERE)).unwrap();
    since.map_err(|contradiction| match contradiction {
        Contradiction::Unknown(range) => range,
        other => panic!("{other}"),
    })?;
    let ranges = plan.ranges().unwrap().map(Result::unwrap);
    Ok(ranges.map(|(range, part)| (range.start / KIB..range.end / KIB, part)).collect())
}

#[test]
fn what_was_written_is_read_and_what_is_gone_is_a_hole_in_whole_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = 40 * CHUNK + 4096;
    let base = base(folder.path(), bytes, &[0..8, 12..20]);
    let planned = |mapped: &[_], written: &[_]| planned(&base, bytes, mapped, written).unwrap();
    assert_eq!(planned(&[0..8, 12..20], &[]), []);
    // Chunk 1 is in blocks 0 and 1; chunk 40, the last, is all of block 30.
    let written = planned(&[0..8, 12..20, 40..41], &[1..2, 40..41]);
    assert_eq!(written, [(0..512, Part::Read), (7680..7684, Part::Read)]);
    // Chunks 14 to 17 are gone: blocks 10 and 13 have a part of others, 11 and 12 have not.
    let gone = planned(&[0..8, 12..14, 18..20], &[]);
    assert_eq!(
        gone,
        [(2560..2816, Part::Read), (2816..3328, Part::Hole), (3328..3584, Part::Read)]
    );
}

#[test]
fn the_block_in_which_the_shorter_volume_ends_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let base = base(folder.path(), 6 * CHUNK, &[0..6]);
    // 1152 KiB are four and a half blocks.
    let grown = planned(&base, 20 * CHUNK, &[0..6], &[]);
    assert_eq!(grown, Ok(vec![(1024..1280, Part::Read)]));
    let shrunk = planned(&base, 3 * CHUNK, &[0..3], &[]);
    assert_eq!(shrunk, Ok(vec![(512..576, Part::Read)]));
    // At the border of a block nothing is in two volumes in part.
    assert_eq!(planned(&base, 4 * CHUNK, &[0..4], &[]), Ok(vec![]));
}

#[test]
fn a_chunk_that_is_older_than_the_base_and_not_in_it_is_a_contradiction() {
    let folder = tempfile::tempdir().unwrap();
    let base = base(folder.path(), 40 * CHUNK, &[0..8, 12..20]);
    let planned = |mapped: &[_], written: &[_]| planned(&base, 40 * CHUNK, mapped, written);
    assert_eq!(planned(&[0..9, 12..20], &[]), Err(8 * CHUNK..9 * CHUNK));
    assert_eq!(planned(&[0..10, 12..22], &[9..10, 20..21]), Err(8 * CHUNK..9 * CHUNK));
    assert_eq!(planned(&[0..9, 12..21], &[8..9]), Err(20 * CHUNK..21 * CHUNK));
    assert!(planned(&[0..9, 12..20], &[8..9]).is_ok());
}

/// What there is after these chunks went and these were written, the base's list being good below
/// chunk 50 and `chunks` being mapped.
fn derived(
    had: &[Range<u64>],
    (gone, written): (&[Range<u64>], &[Range<u64>]),
    chunks: u64,
) -> Result<Vec<Range<u64>>, Contradiction> {
    let mut since = SinceBase { written: list(written), gone: list(gone), below: 50, chunks };
    let mapped = derive(|| runs(had), &mut since, 65536, Path::new(NOWHERE)).unwrap();
    mapped.map(|mut list| list.runs().unwrap().map(Result::unwrap).collect())
}

#[test]
fn what_is_mapped_follows_from_what_the_base_had() {
    let had = [0..10, 20..30, 45..60];
    let same = derived(&had, (&[], &[]), 25).unwrap();
    assert_eq!(same, [0..10, 20..30, 45..50]);
    // Gone in part and whole, written anew and in place, and all beyond the base.
    let gone = [3..4, 20..30];
    let written = [5..6, 12..14, 48..49, 50..55];
    let mapped = derived(&had, (&gone, &written), 21).unwrap();
    assert_eq!(mapped, [0..3, 4..10, 12..14, 45..55]);
}

#[test]
fn a_base_that_has_another_list_than_the_pool_had_is_a_contradiction() {
    let wrong = |chunks, gone: &[Range<u64>]| {
        derived(&[0..10, 20..30], (gone, &[]), chunks).unwrap_err().to_string()
    };
    assert!(wrong(21, &[]).contains("21 chunks of the volume are mapped"));
    assert!(wrong(19, &[]).contains("it would be 20"));
    assert!(wrong(17, &[20..21, 29..31]).starts_with("bytes 1966080 to 2031616 "));
}
