//! Volumes made of numbered blocks, and how tests back them up and restore them.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use thinmover_io::IoEngine;
use thinmover_repository::{
    Collected, Domain, Id, Image, ImageRoot, InitOptions, MaintainOptions, Manifest, ManifestDraft,
    Passphrase, PassphraseCost, RangeBuffer, ReadLimits, RepackLimits, Repository, Result, Source,
    Store, Upload, UploadLimits, VolumeKey, open_store,
};

pub(crate) const BLOCK: usize = 64 << 10;

pub(crate) fn passphrase() -> Passphrase {
    Passphrase::new("correct horse battery staple")
}

pub(crate) fn cheap() -> InitOptions {
    InitOptions { passphrase_cost: PassphraseCost::WORTHLESS, ..InitOptions::default() }
}

pub(crate) fn init(store: impl Store + 'static) -> Repository {
    Repository::init(Arc::new(store), &cheap(), &passphrase()).unwrap()
}

/// A repository in a directory that goes when the guard is dropped.
pub(crate) fn directory_repository() -> (TempDir, Repository) {
    let (dir, store) = directory_store();
    let repository = Repository::init(store, &cheap(), &passphrase()).unwrap();
    (dir, repository)
}

pub(crate) fn directory_store() -> (TempDir, Arc<dyn Store>) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}/repository", dir.path().display());
    (dir, open_store(&url, &IoEngine::default()).unwrap())
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(length).collect()
}

/// Bytes that compress well, the same for the same seed.
pub(crate) fn text(seed: u64, length: usize) -> Vec<u8> {
    format!("line {seed} of a log that says little. ").bytes().cycle().take(length).collect()
}

/// Backs up `image` in blocks of [`BLOCK`], as one worker.
pub(crate) fn back_up(repository: &Repository, volume: &str, image: &[u8]) -> Result<Manifest> {
    back_up_with(repository, volume, image, UploadLimits::default())
}

pub(crate) fn back_up_with(
    repository: &Repository,
    volume: &str,
    image: &[u8],
    limits: UploadLimits,
) -> Result<Manifest> {
    commit_image(begin_with(repository, volume, limits)?, volume, image)
}

pub(crate) fn begin(repository: &Repository, volume: &str) -> Upload {
    begin_with(repository, volume, UploadLimits::default()).unwrap()
}

pub(crate) fn begin_with(
    repository: &Repository,
    volume: &str,
    limits: UploadLimits,
) -> Result<Upload> {
    let volume = VolumeKey(format!("host-1/{volume}"));
    repository.begin_upload(&Domain("host-1".into()), &volume, limits)
}

pub(crate) fn commit_image(upload: Upload, name: &str, image: &[u8]) -> Result<Manifest> {
    let root = store_image(&upload, image)?;
    upload.commit(draft(name, root, image.len() as u64))
}

pub(crate) fn store_image(upload: &Upload, image: &[u8]) -> Result<ImageRoot> {
    let mut packer = upload.packer()?;
    let mut tree = upload.image_builder(image.len() as u64, BLOCK as u32)?;
    for block in image.chunks(BLOCK) {
        let is_hole = block.iter().all(|&byte| byte == 0);
        tree.push(if is_hole { Id::HOLE } else { packer.store_block(block)?.id })?;
    }
    packer.finish()?;
    tree.finish()
}

pub(crate) fn draft(name: &str, image: ImageRoot, read_bytes: u64) -> ManifestDraft {
    let host = "host-1".to_owned();
    let source = Source { host, name: name.to_owned(), ..Source::default() };
    ManifestDraft {
        source,
        created_at: "2026-01-31T12:00:00Z".parse().unwrap(),
        tier: "full".to_owned(),
        reason: "first backup".to_owned(),
        image,
        mapped: None,
        lineage: None,
        read_bytes,
        labels: [("app".to_owned(), "db".to_owned())].into(),
        ttl: None,
        previous: None,
    }
}

/// The whole image, or the first error.
pub(crate) fn restore(repository: &Repository, backup: &Manifest) -> Result<Vec<u8>> {
    restore_with(repository, backup, 100, ReadLimits::default())
}

pub(crate) fn restore_with(
    repository: &Repository,
    backup: &Manifest,
    window_blocks: usize,
    limits: ReadLimits,
) -> Result<Vec<u8>> {
    let image = repository.image(backup, limits)?;
    let block_bytes = u64::from(image.root().block_bytes());
    let mut out = vec![0; image.root().total_bytes() as usize];
    let (mut walk, mut opener) = (image.walk(), image.opener()?);
    let (mut bytes, mut plain) = (RangeBuffer::default(), Vec::new());
    let mut expected_block = 0;
    while let Some(window) = walk.next_window(window_blocks)? {
        assert_eq!(window.first_block, expected_block);
        assert!(!window.ids.is_empty() && window.ids.len() <= window_blocks);
        expected_block += window.ids.len() as u64;
        image.fetch_each(image.plan(&window)?, &mut bytes, &mut |read, bytes| {
            for blob in &read.blobs {
                opener.open(read, bytes, blob, &mut plain)?;
                for block in &blob.blocks {
                    let start = (block * block_bytes) as usize;
                    out[start..start + plain.len()].copy_from_slice(&plain);
                }
            }
            Ok(())
        })?;
    }
    assert_eq!(expected_block, image.root().blocks());
    Ok(out)
}

/// Whether every block that is read is the image's and every hole is one of its; without making the
/// image.
pub(crate) fn restores_equal(
    repository: &Repository,
    backup: &Manifest,
    image: &[u8],
) -> Result<bool> {
    let source = repository.image(backup, ReadLimits::default())?;
    let (mut walk, mut opener) = (source.walk(), source.opener()?);
    let (mut bytes, mut plain) = (RangeBuffer::default(), Vec::new());
    let mut blocks: Vec<Option<&[u8]>> = image.chunks(BLOCK).map(Some).collect();
    let mut is_equal = source.root().total_bytes() == image.len() as u64;
    while let Some(window) = walk.next_window(1000)? {
        for (block, id) in (window.first_block as usize..).zip(&window.ids) {
            if id.is_hole() {
                // The first byte stands for all: blocks are holes or text and noise, never both.
                is_equal &= blocks[block].take().is_some_and(|expected| expected[0] == 0);
            }
        }
        source.fetch_each(source.plan(&window)?, &mut bytes, &mut |read, bytes| {
            for blob in &read.blobs {
                opener.open(read, bytes, blob, &mut plain)?;
                for &block in &blob.blocks {
                    is_equal &= blocks[block as usize].take() == Some(&plain);
                }
            }
            Ok(())
        })?;
    }
    Ok(is_equal && blocks.iter().all(Option::is_none))
}

/// A live backup, opened for `upload` to build on.
pub(crate) fn base_of(upload: &Upload, backup: &Manifest) -> Image {
    let found = upload.live_backup_at(backup.location()).unwrap().unwrap();
    upload.base_image(&found, ReadLimits::default()).unwrap()
}

/// Collects, without waiting for anybody; uploads that have not ended are kept from it if `fence`.
pub(crate) fn collect_with(repository: &Repository, fence: bool) -> Result<Collected> {
    let scratch = tempfile::tempdir().unwrap();
    let options = MaintainOptions {
        fence_after: fence.then_some(Duration::ZERO),
        wait: Duration::ZERO,
        memory_bytes: 16 << 20,
        scratch: scratch.path().to_owned(),
        repack: RepackLimits::default(),
    };
    let domain = Domain("host-1".into());
    let report =
        repository.maintain(Some(&domain), &options, &mut |_| ControlFlow::Continue(()))?;
    Ok(report.domains.into_iter().next().unwrap().1)
}

pub(crate) fn collect(repository: &Repository) -> Collected {
    collect_with(repository, false).unwrap()
}

/// Whether a verification finds nothing wrong.
pub(crate) fn is_whole(repository: &Repository, backup: &Manifest) -> bool {
    repository.verify(backup, &mut |_| ControlFlow::Continue(())).unwrap().ok()
}
