//! An upload that gives only what changed, and a restore that writes only what differs.

use std::sync::Arc;

use thinmover_repository::{
    Domain, Error, Id, Image, Manifest, RangeBuffer, ReadLimits, Repository, Result, Upload,
    UploadLimits, VolumeKey,
};

use super::support::*;

fn open(repository: &Repository, backup: &Manifest) -> Image {
    repository.image(backup, ReadLimits::default()).unwrap()
}

/// Gives the blocks of `image` with these numbers.
fn commit_changed(
    upload: Upload,
    base: &Manifest,
    image: &[u8],
    blocks: impl IntoIterator<Item = usize>,
) -> Result<Manifest> {
    let base = base_of(&upload, base);
    let mut tree = upload.based_image(&base, image.len() as u64)?;
    let mut packer = upload.packer()?;
    for number in blocks {
        let block = image.chunks(BLOCK).nth(number).unwrap();
        let is_hole = block.iter().all(|&byte| byte == 0);
        let id = if is_hole { Id::HOLE } else { packer.store_block(block)?.id };
        tree.set(number as u64, id)?;
    }
    packer.finish()?;
    let root = tree.finish()?;
    upload.commit(draft("vg0/a", root, 0))
}

/// 600 blocks, all of their own: a root and five leaves.
fn large() -> Vec<u8> {
    (0..600).flat_map(|seed| text(seed, BLOCK)).collect()
}

#[test]
fn a_changed_image_comes_back_equal_shrunk_and_grown() {
    let (_dir, repository) = directory_repository();
    let image = [text(1, 200 * BLOCK), vec![0; 200 * BLOCK], noise(2, 1000)].concat();
    let first = back_up(&repository, "vg0/a", &image).unwrap();
    let mut changed = image.clone();
    changed[..5].copy_from_slice(b"other");
    changed[150 * BLOCK..151 * BLOCK].fill(0);
    changed[300 * BLOCK] = 1;
    let second =
        commit_changed(begin(&repository, "vg0/a"), &first, &changed, [0, 150, 300]).unwrap();
    let shorter = changed[..100 * BLOCK + 7].to_vec();
    let third = commit_changed(begin(&repository, "vg0/a"), &second, &shorter, [100]).unwrap();
    let longer = [&shorter[..], &text(5, 50 * BLOCK)].concat();
    let fourth = commit_changed(begin(&repository, "vg0/a"), &third, &longer, 100..151).unwrap();
    for (backup, image) in [(first, image), (second, changed), (third, shorter), (fourth, longer)] {
        assert!(restore(&repository, &backup).unwrap() == image);
        assert!(is_whole(&repository, &backup));
        let in_full = back_up(&repository, "vg0/b", &image).unwrap();
        assert_eq!(in_full.image, backup.image);
    }
}

#[test]
fn one_changed_block_of_many_costs_a_few_requests_and_bytes() {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    let mut image = large();
    let first = back_up(&repository, "vg0/a", &image).unwrap();
    let recording = RecordingStore::new(Arc::new(memory));
    let repository = Repository::open(Arc::new(recording.clone()), &passphrase()).unwrap();
    image[BLOCK * 400] ^= 1;
    let upload = begin(&repository, "vg0/a");
    recording.take();
    let second = commit_changed(upload, &first, &image, [400]).unwrap();
    let requests = recording.take();
    let count = |verb: &str| requests.iter().filter(|request| request.starts_with(verb)).count();
    assert_eq!((count("size"), count("list")), (1, 0), "{requests:?}");
    // The base looks its nodes up; the upload looks nothing up for so little.
    let expected = 1 + 1 + 2;
    assert_eq!(count("get"), expected, "outcome, index, a node for each level: {requests:?}");
    assert_eq!(count("create"), 3, "index, outcome, ack: {requests:?}");
    assert!(second.stored_bytes < first.stored_bytes / 5, "{}", second.stored_bytes);
    assert_eq!(back_up(&repository, "vg0/b", &image).unwrap().image, second.image);
}

#[test]
fn a_base_that_is_deleted_or_that_another_upload_found_is_refused() {
    let (_dir, repository) = directory_repository();
    let image = text(1, 3 * BLOCK);
    let backup = back_up(&repository, "vg0/a", &image).unwrap();
    let (domain, volume) = (Domain("host-2".into()), VolumeKey("v".into()));
    let elsewhere = repository.begin_upload(&domain, &volume, UploadLimits::default()).unwrap();
    let error = elsewhere.live_backup_at(backup.location()).unwrap_err();
    assert!(matches!(error, Error::InvalidInput(_)), "{error}");
    let (first, second) = (begin(&repository, "vg0/a"), begin(&repository, "vg0/a"));
    let found = first.live_backup(&backup.id).unwrap().unwrap();
    // What one upload has seen says nothing of what another may count on.
    let error = second.base_image(&found, ReadLimits::default()).unwrap_err();
    assert!(matches!(error, Error::InvalidInput(_)), "{error}");
    let theirs = first.base_image(&found, ReadLimits::default()).unwrap();
    for image in [theirs, open(&repository, &backup)] {
        let error = second.based_image(&image, image.root().total_bytes()).map(drop).unwrap_err();
        assert!(matches!(error, Error::InvalidInput(_)), "{error}");
    }
    repository.delete(&backup).unwrap();
    assert!(second.live_backup(&backup.id).unwrap().is_none());
    assert!(second.live_backup("no id").unwrap().is_none());
}

#[test]
fn an_upload_goes_on_without_a_base_that_cannot_be_read() {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    let in_packs = UploadLimits { embedded_bytes: 0, ..UploadLimits::default() };
    let first = back_up_with(&repository, "vg0/a", &large(), in_packs).unwrap();
    let upload = begin(&repository, "vg0/a");
    let base = base_of(&upload, &first);
    let mut based = upload.based_image(&base, base.root().total_bytes()).unwrap();
    based.set(5, Id::HOLE).unwrap();
    for key in memory.keys().into_iter().filter(|key| key.contains("/pack/")) {
        memory.remove(&key);
    }
    let error = based.set(500, Id::HOLE).unwrap_err();
    assert!(matches!(&error, Error::BaseUnusable { base, .. } if *base == first.id), "{error}");
    based.abandon().unwrap();
    let root = store_image(&upload, &noise(8, 5 * BLOCK)).unwrap();
    let second = upload.commit(draft("vg0/a", root, 0)).unwrap();
    assert!(restore(&repository, &second).unwrap() == noise(8, 5 * BLOCK));
    assert!(is_whole(&repository, &second));
}

#[test]
fn the_blocks_that_differ_turn_one_image_into_the_other() {
    let (_dir, repository) = directory_repository();
    let image = large();
    let mut changed = image.clone();
    changed[7 * BLOCK..9 * BLOCK].fill(0);
    changed[400 * BLOCK..401 * BLOCK].copy_from_slice(&noise(1, BLOCK));
    changed.extend(noise(2, 3 * BLOCK + 5));
    let [before, after] =
        [&image, &changed].map(|image| back_up(&repository, "vg0/a", image).unwrap());
    let [before, after] = [before, after].map(|backup| open(&repository, &backup));
    for (from, to, wanted, target) in
        [(&before, &after, &changed, image.clone()), (&after, &before, &image, changed.clone())]
    {
        let mut target = target;
        target.resize(wanted.len(), 0);
        let mut written = 0;
        let (mut diff, mut opener) = (to.diff(from).unwrap(), to.opener().unwrap());
        let (mut bytes, mut plain) = (RangeBuffer::default(), Vec::new());
        while let Some(changes) = diff.next_window(3).unwrap() {
            let has = |block: u64| block < to.root().blocks();
            for change in changes.iter().filter(|c| c.after.is_hole() && has(c.block)) {
                target[change.block as usize * BLOCK..][..BLOCK].fill(0);
            }
            let ids = changes.iter().map(|change| (change.block, change.after));
            to.fetch_each(to.plan_blocks(ids).unwrap(), &mut bytes, &mut |read, bytes| {
                for blob in &read.blobs {
                    opener.open(read, bytes, blob, &mut plain)?;
                    for &block in &blob.blocks {
                        target[block as usize * BLOCK..][..plain.len()].copy_from_slice(&plain);
                        written += plain.len();
                    }
                }
                Ok(())
            })
            .unwrap();
        }
        assert!(target == *wanted);
        assert!(written <= 5 * BLOCK, "{written}");
    }
}

#[test]
fn images_of_two_domains_are_not_compared() {
    let (_dir, repository) = directory_repository();
    let [first, second] = ["host-1", "host-2"].map(|domain| {
        let (domain, volume) = (Domain(domain.into()), VolumeKey("v".into()));
        let upload = repository.begin_upload(&domain, &volume, UploadLimits::default()).unwrap();
        open(&repository, &commit_image(upload, "vg0/a", &text(1, BLOCK)).unwrap())
    });
    assert!(matches!(first.diff(&second).map(drop), Err(Error::InvalidInput(_))));
}
