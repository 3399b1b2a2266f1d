//! Every changed, cut off or missing byte is found, and none is ever restored as something else.

use std::ops::{ControlFlow, Range};
use std::sync::{Arc, LazyLock};

use thinmover_repository::{
    Error, Filter, Manifest, ManifestDraft, ReadLimits, Repository, Result, UploadLimits,
    VerifyReport,
};

use super::support::*;

/// What was mapped in the pool.
const MAPPED: [Range<u64>; 2] = [0..2, 132..133];

/// Short blobs of every kind, so that all bytes can be changed in little time: compressed ones, one
/// that does not compress, nodes of two levels.
static IMAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    [text(1, BLOCK), text(2, BLOCK), vec![0; 130 * BLOCK], noise(3, 200)].concat()
});

struct Small {
    memory: MemoryStore,
    repository: Repository,
    backup: Manifest,
}

/// Once with the blobs in the index object, once in a pack.
fn repositories() -> [Small; 2] {
    [4 << 20, 0].map(|embedded_bytes| {
        let memory = MemoryStore::default();
        let repository = init(memory.clone());
        let limits = UploadLimits { embedded_bytes, ..UploadLimits::default() };
        let upload = begin_with(&repository, "vg0/a", limits).unwrap();
        let image = store_image(&upload, &IMAGE).unwrap();
        let mut mapped = upload.mapped_list_builder(64 << 10, image.total_bytes()).unwrap();
        MAPPED.into_iter().for_each(|run| mapped.push(run).unwrap());
        let mapped = Some(mapped.finish().unwrap());
        let backup = upload.commit(ManifestDraft { mapped, ..draft("vg0/a", image, 0) }).unwrap();
        Small { memory, repository, backup }
    })
}

fn verify(repository: &Repository, backup: &Manifest) -> VerifyReport {
    repository.verify(backup, &mut |_| ControlFlow::Continue(())).unwrap()
}

impl Small {
    /// Whether opening, listing or verifying notices that something is wrong with `key`.
    fn is_found(&self, key: &str) -> bool {
        if key == "config" || key.starts_with("slot/") {
            return Repository::open(Arc::new(self.memory.clone()), &passphrase()).is_err();
        }
        match self.repository.backup(&self.backup.id) {
            Ok(backup) => !verify(&self.repository, &backup).ok(),
            Err(_) => true,
        }
    }

    /// Restores with what is left: equal, or an error.
    fn check_restore(&self) {
        if let Ok(backup) = self.repository.backup(&self.backup.id)
            && let Ok(is_equal) = restores_equal(&self.repository, &backup, &IMAGE)
        {
            assert!(is_equal, "wrong data was restored");
        }
        if let Ok(backup) = self.repository.backup(&self.backup.id)
            && let Ok(image) = self.repository.image(&backup, ReadLimits::default())
            && let Some(chunks) = image.mapped_chunks()
            && let Ok(chunks) = chunks.collect::<Result<Vec<_>>>()
        {
            assert_eq!(chunks, MAPPED, "wrong chunks were read");
        }
    }
}

/// Objects that hold bytes of the backup. A mark says who uploads, and nothing of any backup.
fn objects(memory: &MemoryStore) -> Vec<String> {
    let is_of_it = |key: &String| !memory.bytes(key).is_empty() && !key.contains("/session/");
    memory.keys().into_iter().filter(is_of_it).collect()
}

#[test]
fn a_flipped_bit_in_any_byte_is_found_and_never_restored() {
    for small in repositories() {
        assert!(verify(&small.repository, &small.backup).ok());
        let mut flipped = 0;
        for key in objects(&small.memory) {
            for at in 0..small.memory.bytes(&key).len() {
                small.memory.change(&key, |bytes| bytes[at] ^= 1 << (at % 8));
                assert!(small.is_found(&key), "{key} byte {at}");
                small.check_restore();
                small.memory.change(&key, |bytes| bytes[at] ^= 1 << (at % 8));
                flipped += 1;
            }
        }
        assert!(verify(&small.repository, &small.backup).ok());
        assert!(flipped > 1500, "only {flipped} bytes");
    }
}

#[test]
fn an_object_cut_off_or_grown_is_found_and_never_restored() {
    for small in repositories() {
        for key in objects(&small.memory) {
            let whole = small.memory.bytes(&key);
            let lengths =
                (0..whole.len()).step_by(7).chain(whole.len().saturating_sub(20)..whole.len());
            let changed = lengths.map(|length| whole[..length].to_vec());
            let grown = [[&whole[..], b"\n"].concat(), [&whole[..], &whole].concat()];
            for bytes in changed.chain(grown) {
                let length = bytes.len();
                small.memory.change(&key, |target| *target = bytes);
                assert!(small.is_found(&key), "{key} of {length} bytes");
                small.check_restore();
            }
            small.memory.change(&key, |target| *target = whole);
        }
        assert!(verify(&small.repository, &small.backup).ok());
    }
}

#[test]
fn a_missing_object_is_found_and_never_restored() {
    for small in repositories() {
        for key in objects(&small.memory) {
            let bytes = small.memory.remove(&key);
            assert!(small.is_found(&key), "{key}");
            small.check_restore();
            small.memory.put(&key, bytes);
        }
    }
}

#[test]
fn objects_exchanged_for_each_other_are_found() {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    let limits = UploadLimits { embedded_bytes: 0, ..UploadLimits::default() };
    let backups = ["vg0/a", "vg0/b"]
        .map(|name| back_up_with(&repository, name, &text(name.len() as u64, BLOCK), limits));
    let other = back_up_with(&repository, "vg0/c", &noise(9, BLOCK), limits).unwrap();
    assert!(backups.iter().all(|backup| is_whole(&repository, backup.as_ref().unwrap())));
    for kind in ["/pack/", "/index/"] {
        let keys: Vec<_> = memory.keys().into_iter().filter(|key| key.contains(kind)).collect();
        let [first, second] = [&keys[0], &keys[1]].map(|key| memory.bytes(key));
        memory.change(&keys[0], |bytes| *bytes = second.clone());
        memory.change(&keys[1], |bytes| *bytes = first.clone());
        assert!(
            !is_whole(&repository, &other) || !is_whole(&repository, backups[0].as_ref().unwrap())
        );
        memory.change(&keys[0], |bytes| *bytes = first);
        memory.change(&keys[1], |bytes| *bytes = second);
    }
}

#[test]
fn an_error_names_the_object_and_the_range_of_the_image() {
    let memory = MemoryStore::default();
    let repository = init(memory.clone());
    let limits = UploadLimits { embedded_bytes: 0, ..UploadLimits::default() };
    let image = [vec![0; 5 * BLOCK], noise(1, BLOCK), text(2, BLOCK)].concat();
    let backup = back_up_with(&repository, "vg0/a", &image, limits).unwrap();
    let packs: Vec<_> = memory.keys().into_iter().filter(|key| key.contains("/pack/")).collect();
    let pack = packs.iter().max_by_key(|key| memory.bytes(key).len()).unwrap();
    memory.change(pack, |bytes| bytes[1000] ^= 1);
    let report = verify(&repository, &backup);
    let [in_pack, in_image] = report.errors.as_slice() else { panic!("{report:#?}") };
    assert_eq!(in_pack.object, *pack);
    assert_eq!(in_pack.range, Some(64..64 + BLOCK as u64 + 16));
    assert_eq!(in_image.object, format!("backup {}", backup.id));
    assert_eq!(in_image.range, Some(5 * BLOCK as u64..6 * BLOCK as u64));
    match restore(&repository, &backup).unwrap_err() {
        Error::Damaged { object, range, .. } => {
            assert_eq!((&object, range), (pack, in_pack.range.clone()));
        }
        error => panic!("{error}"),
    }
}

#[test]
fn a_verification_says_how_far_it_is_and_stops_when_told() {
    let (_dir, repository) = directory_repository();
    let image = noise(1, 40 << 20);
    let backup = back_up(&repository, "vg0/a", &image).unwrap();
    let mut seen = Vec::new();
    let report = repository
        .verify(&backup, &mut |progress| {
            seen.push(progress);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(report.ok() && report.checked_bytes >= backup.stored_bytes);
    assert!(seen.len() > 5 && seen.is_sorted_by_key(|progress| progress.checked_bytes));
    let stopped = repository.verify(&backup, &mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Error::Canceled)));
}

#[test]
fn every_backup_is_listed_or_named_as_damaged() {
    for small in repositories() {
        let key = small.memory.keys().into_iter().find(|key| key.contains("/outcome/")).unwrap();
        for at in 0..small.memory.bytes(&key).len() {
            small.memory.change(&key, |bytes| bytes[at] ^= 0x80);
            let backups = small.repository.backups(&Filter::default()).unwrap();
            assert!(backups.live.is_empty() && backups.damaged.len() == 1, "byte {at}");
            small.memory.change(&key, |bytes| bytes[at] ^= 0x80);
        }
    }
}

#[test]
fn a_manifest_that_disagrees_with_its_image_is_found() {
    let (_dir, repository) = directory_repository();
    let image = [vec![0; 199 * BLOCK], text(1, BLOCK)].concat();
    let backup = back_up(&repository, "vg0/a", &image).unwrap();
    // One byte short: the last block is longer than it may be. One block short: the tree goes on.
    for missing in [1, BLOCK as u64] {
        let mut shorter = backup.clone();
        shorter.total_bytes -= missing;
        assert!(!is_whole(&repository, &shorter), "{missing}");
        let error = restore(&repository, &shorter).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
}
