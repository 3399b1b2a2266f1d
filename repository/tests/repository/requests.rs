//! What is asked of a bucket that a thousand hosts share: the same few requests, whatever it holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use thinmover_repository::{
    Domain, Filter, Id, Manifest, ReadLimits, Repository, Upload, UploadLimits, VolumeKey,
};

use super::support::*;

const HOSTS: usize = 1000;
const BACKUPS: usize = 720;
/// Keys on a page of a listing.
const PAGE: usize = 1000;

/// One host's volume, with all its backups, in a bucket where others have as many.
struct Bucket {
    memory: MemoryStore,
    recording: RecordingStore,
    repository: Repository,
    cache: tempfile::TempDir,
    last: Manifest,
    image: Vec<u8>,
}

fn own() -> (Domain, VolumeKey) {
    (Domain("host-1".into()), VolumeKey("host-1/vg0/a".into()))
}

impl Bucket {
    fn new() -> Self {
        let memory = MemoryStore::default();
        let repository = init(memory.clone());
        let cache = tempfile::tempdir().unwrap();
        let recording = RecordingStore::new(Arc::new(memory.clone()));
        let repository = repository.through(&recording, &cache);
        let image: Vec<u8> = (0..300).flat_map(|seed| text(seed, BLOCK)).collect();
        let (domain, volume) = own();
        let upload = repository.begin_upload(&domain, &volume, UploadLimits::default()).unwrap();
        let mut last = commit_image(upload, "vg0/a", &image).unwrap();
        collect(&repository);
        for _ in 1..BACKUPS {
            last = unchanged(&repository, &last);
        }
        for host in 1..HOSTS {
            for backup in 0..BACKUPS {
                // Nobody looks at what is another's.
                let key = format!("domain/{host:032x}/outcome/{host:032x}/{backup:032x}");
                memory.put(&key, Vec::new());
            }
        }
        Self { memory, recording, repository, cache, last, image }
    }
}

trait Through {
    fn through(&self, store: &RecordingStore, cache: &tempfile::TempDir) -> Self;
}

impl Through for Repository {
    fn through(&self, store: &RecordingStore, cache: &tempfile::TempDir) -> Self {
        let repository = Repository::open(Arc::new(store.clone()), &passphrase()).unwrap();
        repository.with_cache(cache.path(), 64 << 20)
    }
}

fn based(repository: &Repository, last: &Manifest, blocks: &[(u64, &[u8])]) -> Manifest {
    let (domain, volume) = own();
    let upload = repository.begin_upload(&domain, &volume, UploadLimits::default()).unwrap();
    let base = upload.live_backup(&last.id).unwrap().unwrap();
    let base = upload.base_image(&base, ReadLimits::default()).unwrap();
    // As the spot check does.
    assert_eq!(base.block_ids(&[1, 150, 299]).unwrap().len(), 3);
    let root = store_changed(&upload, &base, blocks);
    upload.commit(draft("vg0/a", root, 0)).unwrap()
}

fn store_changed(
    upload: &Upload,
    base: &thinmover_repository::Image,
    blocks: &[(u64, &[u8])],
) -> thinmover_repository::ImageRoot {
    let mut image = upload.based_image(base, base.root().total_bytes()).unwrap();
    let mut packer = upload.packer().unwrap();
    for (number, block) in blocks {
        let id: Id = packer.store_block(block).unwrap().id;
        image.set(*number, id).unwrap();
    }
    packer.finish().unwrap();
    image.finish().unwrap()
}

fn unchanged(repository: &Repository, last: &Manifest) -> Manifest {
    based(repository, last, &[])
}

/// PUT, LIST and GET (with HEAD, which costs the same) of what was recorded.
fn counted(recording: &RecordingStore) -> (BTreeMap<&'static str, usize>, Vec<String>) {
    let requests = recording.take();
    let mut counts = BTreeMap::from([("PUT", 0), ("LIST", 0), ("GET", 0)]);
    for request in &requests {
        let verb = match request.split(' ').next().unwrap_or_default() {
            "create" => "PUT",
            "list" => "LIST",
            "get" | "size" => "GET",
            _ => "other",
        };
        *counts.entry(verb).or_default() += 1;
    }
    (counts, requests)
}

#[test]
fn a_backup_costs_a_fixed_handful_of_requests_in_a_bucket_of_a_thousand_hosts() {
    let bucket = Bucket::new();
    let Bucket { memory, recording, repository, cache, last, image } = &bucket;
    let own_keys = |kind: &str| {
        let kind = format!("/{kind}/");
        memory.keys().iter().filter(|key| key.contains(&kind)).count()
    };
    assert!(own_keys("outcome") >= HOSTS * BACKUPS - BACKUPS);
    // A listing of each of these is one page.
    for kind in ["gen", "index"] {
        assert!(own_keys(kind) <= PAGE, "{kind}");
    }

    recording.take();
    let opened = repository.through(recording, cache);
    let (counts, requests) = counted(recording);
    assert!(counts.values().sum::<usize>() <= 3, "opening: {requests:?}");

    let second = unchanged(&opened, last);
    let (counts, requests) = counted(recording);
    let expected = BTreeMap::from([("PUT", 3), ("LIST", 3), ("GET", 2)]);
    assert_eq!(counts, expected, "unchanged: {requests:?}");
    assert_eq!(second.image, last.image);

    let block = noise(7, BLOCK);
    let third = based(&opened, &second, &[(200, &block)]);
    let (counts, requests) = counted(recording);
    let expected = BTreeMap::from([("PUT", 4), ("LIST", 3), ("GET", 2)]);
    assert_eq!(counts, expected, "a small change: {requests:?}");
    let mut changed = image.clone();
    changed[200 * BLOCK..201 * BLOCK].copy_from_slice(&block);
    assert!(restore(&opened, &third).unwrap() == changed);

    let (domain, volume) = own();
    let filter = Filter { domain: Some(domain), volume: Some(volume), ..Filter::default() };
    recording.take();
    let list = |cache: &tempfile::TempDir, uncached: usize| {
        let elsewhere = opened.through(recording, cache);
        recording.take();
        let backups = elsewhere.backups(&filter).unwrap();
        assert_eq!((backups.live.len(), backups.damaged.len()), (BACKUPS + 2, 0));
        let (counts, requests) = counted(recording);
        let expected = BTreeMap::from([("PUT", 0), ("LIST", 2), ("GET", uncached)]);
        assert_eq!(counts, expected, "one volume: {:?}", &requests[..5.min(requests.len())]);
        backups.live
    };
    let [empty, another] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let listed = list(&empty, BACKUPS + 2);
    list(&empty, 0);
    // Maintenance makes a digest of them.
    collect(&opened);
    assert_eq!(list(&another, 1), listed);
    list(&another, 0);

    // By its whole id, as it is shown, verified, held and deleted.
    let (domain, _) = own();
    let at_home = opened.clone().with_home(&domain);
    recording.take();
    assert_eq!(at_home.find(&third.id).unwrap().id(), third.id);
    let (counts, requests) = counted(recording);
    assert_eq!(counts, BTreeMap::from([("PUT", 0), ("LIST", 2), ("GET", 0)]), "{requests:?}");
    let foreign = at_home.with_home(&Domain("another host".into()));
    assert_eq!(foreign.find(&third.id).unwrap().id(), third.id);
    // Whatever becomes of the cache, all is as it was.
    std::fs::remove_dir_all(cache.path()).unwrap();
    assert!(restore(&opened, &third).unwrap() == changed);
    assert!(is_whole(&opened, &unchanged(&opened, &third)));
}

#[test]
fn a_restore_reads_ranges_of_megabytes() {
    const IMAGE_BYTES: usize = 128 << 20;
    let memory = MemoryStore::default();
    let backup = back_up(&init(memory.clone()), "vg0/a", &noise(3, IMAGE_BYTES)).unwrap();
    let recording = RecordingStore::new(Arc::new(memory));
    let repository = Repository::open(Arc::new(recording.clone()), &passphrase()).unwrap();
    recording.take();
    assert_eq!(restore(&repository, &backup).unwrap().len(), IMAGE_BYTES);
    let (counts, requests) = counted(&recording);
    let (gets, gib) = (counts["GET"], IMAGE_BYTES as f64 / f64::from(1 << 30));
    eprintln!("{gets} GETs, {:.0} per GiB", gets as f64 / gib);
    // Of 4 MiB each, some of them cut short by the end of a pack; what else there is does not grow so.
    assert!(gets < IMAGE_BYTES / (4 << 20) * 2 + 20, "{gets}: {requests:?}");
}
