//! The list of mapped chunks is kept with its backup, shared with the next, and verified with it.

use std::ops::Range;

use thinmover_repository::{
    Error, Manifest, ManifestDraft, ReadLimits, Repository, Result, UploadLimits,
};

use super::support::*;

/// An image of zeroes of 2^21 chunks: the bitmap has four blocks.
const CHUNK_BYTES: u32 = 192 << 10;
const CHUNKS: u64 = 1 << 21;
const VOLUME_BYTES: u64 = CHUNKS * CHUNK_BYTES as u64;

/// A backup of nothing but a list, whose blobs go into packs.
fn back_up_list(repository: &Repository, runs: &[Range<u64>]) -> Manifest {
    let limits = UploadLimits { embedded_bytes: 0, ..UploadLimits::default() };
    let upload = begin_with(repository, "vg0/a", limits).unwrap();
    let mut image = upload.image_builder(VOLUME_BYTES, BLOCK as u32).unwrap();
    image.push_holes(VOLUME_BYTES / BLOCK as u64).unwrap();
    let image = image.finish().unwrap();
    let mut mapped = upload.mapped_list_builder(CHUNK_BYTES, VOLUME_BYTES).unwrap();
    runs.iter().for_each(|run| mapped.push(run.clone()).unwrap());
    let mapped = Some(mapped.finish().unwrap());
    upload.commit(ManifestDraft { mapped, ..draft("vg0/a", image, 0) }).unwrap()
}

fn read(repository: &Repository, backup: &Manifest) -> Result<Vec<Range<u64>>> {
    let image = repository.image(backup, ReadLimits::default())?;
    image.mapped_chunks().unwrap().collect()
}

/// One chunk of every eight in the first half, and one run over the borders of blocks.
fn runs() -> Vec<Range<u64>> {
    let random = noise(1, CHUNKS as usize / 16);
    let chunk = |(eight, random): (u64, u8)| eight * 8 + u64::from(random % 7);
    let chunks = (0..).zip(random).map(chunk);
    let mut runs: Vec<_> = chunks.map(|chunk| chunk..chunk + 1).collect();
    runs.push(CHUNKS / 2 + 100..CHUNKS - 1);
    runs
}

#[test]
fn a_list_comes_back_equal_with_its_chunk_size() {
    let (_dir, repository) = directory_repository();
    let backup = back_up_list(&repository, &runs());
    let listed = repository.backup(&backup.id).unwrap();
    assert_eq!(listed, backup);
    assert_eq!(listed.chunk_bytes, Some(CHUNK_BYTES));
    assert_eq!(listed.new_bytes, 0, "the list is not read from the source");
    assert!(read(&repository, &listed).unwrap() == runs());
    assert!(is_whole(&repository, &listed));
    let empty = back_up_list(&repository, &[]);
    assert!(empty.mapped.unwrap().is_hole());
    assert_eq!(read(&repository, &empty).unwrap(), []);
    assert!(is_whole(&repository, &empty));
}

#[test]
fn the_next_backup_shares_what_did_not_change() {
    let (_dir, repository) = directory_repository();
    let first = back_up_list(&repository, &runs());
    let mut changed = runs();
    let last = changed.last_mut().unwrap();
    last.end += 1;
    let second = back_up_list(&repository, &changed);
    assert!(second.stored_bytes < first.stored_bytes / 10);
    assert!(read(&repository, &second).unwrap() == changed);
    let unchanged = back_up_list(&repository, &changed);
    assert_eq!((unchanged.stored_bytes, unchanged.mapped), (0, second.mapped));
}

#[test]
fn a_backup_without_a_list_says_so() {
    let (_dir, repository) = directory_repository();
    let backup = back_up(&repository, "vg0/a", &text(1, BLOCK)).unwrap();
    let image = repository.image(&backup, ReadLimits::default()).unwrap();
    assert!(image.mapped().is_none() && image.mapped_chunks().is_none());
}

#[test]
fn the_list_of_another_size_than_the_image_is_refused() {
    let (_dir, repository) = directory_repository();
    let upload = begin(&repository, "vg0/a");
    let image = store_image(&upload, &text(1, 3 * BLOCK)).unwrap();
    let mapped = upload.mapped_list_builder(64 << 10, 4 * BLOCK as u64).unwrap();
    let mapped = Some(mapped.finish().unwrap());
    let error = upload.commit(ManifestDraft { mapped, ..draft("vg0/a", image, 0) }).unwrap_err();
    assert!(matches!(error, Error::InvalidInput(_)), "{error}");
    let upload = begin(&repository, "vg0/a");
    assert!(upload.mapped_list_builder(100_000, BLOCK as u64).is_err());
}

#[test]
fn a_blob_of_a_list_does_not_pass_for_a_block() {
    let (_dir, repository) = directory_repository();
    let upload = begin(&repository, "vg0/a");
    let mut mapped = upload.mapped_list_builder(CHUNK_BYTES, VOLUME_BYTES).unwrap();
    mapped.push(0..1).unwrap();
    let node = mapped.finish().unwrap().id();
    // As long as the node is.
    let mut image = upload.image_builder(32, BLOCK as u32).unwrap();
    image.push(node).unwrap();
    let image = image.finish().unwrap();
    let backup = upload.commit(draft("vg0/a", image, 0)).unwrap();
    assert!(!is_whole(&repository, &backup));
    assert!(matches!(restore(&repository, &backup), Err(Error::Damaged { .. })));
}

#[test]
fn a_lost_pack_of_the_list_is_found_by_a_verification_and_by_whoever_reads_it() {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    let backup = back_up_list(&repository, &runs());
    let packs: Vec<_> = memory.keys().into_iter().filter(|key| key.contains("/pack/")).collect();
    assert!(!packs.is_empty());
    for pack in packs {
        let bytes = memory.remove(&pack);
        let report = repository.verify(&backup, &mut |_| std::ops::ControlFlow::Continue(()));
        let errors = report.unwrap().errors;
        assert!(errors.iter().any(|error| error.message.contains("list of mapped chunks")));
        assert!(read(&repository, &backup).is_err());
        memory.put(&pack, bytes);
    }
    assert!(is_whole(&repository, &backup));
}
