//! The data path end to end, in process, and ended early at each of its stages.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use thinmover_io::DirectFile;
use thinmover_repository::{
    Domain, InitOptions, ManifestDraft, Passphrase, PassphraseCost, ReadLimits, Repository, Source,
    Upload, UploadLimits, VolumeKey, open_store,
};

use super::{Cancel, Canceled, Download, Limits, Progress, StreamError};
use crate::stream::upload::Uploaded;

const BLOCK_BYTES: u32 = 64 << 10;

/// Few and small buffers, so that even small sources make the stages wait for each other.
const LIMITS: Limits = Limits {
    workers: 2,
    readers: 4,
    writers: 3,
    buffers: 3,
    buffer_bytes: 128 << 10,
    window_blocks: 10,
};

struct World {
    folder: tempfile::TempDir,
    repository: Repository,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}/repository", folder.path().display());
        let options =
            InitOptions { passphrase_cost: PassphraseCost::WORTHLESS, ..InitOptions::default() };
        let passphrase = Passphrase::new("secret");
        let repository =
            Repository::init(open_store(&url).unwrap(), &options, &passphrase).unwrap();
        Self { folder, repository }
    }

    fn begin(&self) -> Upload {
        let (domain, volume) = (Domain("host".into()), VolumeKey("host/volume".into()));
        self.repository.begin_upload(&domain, &volume, UploadLimits::default()).unwrap()
    }

    fn file(&self, name: &str, content: &[u8]) -> File {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        File::options().read(true).write(true).open(path).unwrap()
    }
}

fn upload(file: File, upload: &Upload, cancel: &Cancel) -> Result<Uploaded, StreamError> {
    let source = DirectFile::new(file).unwrap();
    super::upload(&source, BLOCK_BYTES, upload, &LIMITS, &Progress::default(), cancel)
}

/// Blocks of data, of holes and of what was there before, in an order that depends on `seed`.
fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::new();
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let fill = state.to_le_bytes()[5];
        let value = if fill.is_multiple_of(3) { 0 } else { fill };
        bytes.resize(bytes.len() + 8192 + usize::from(fill) * 512, value);
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn what_went_in_comes_out_over_whatever_was_there() {
    let world = World::new();
    for (seed, length) in (1..).zip([1, 4096, 65_537, 3_000_000, 9_000_001]) {
        let before = content(seed, length);
        let session = world.begin();
        let stored = upload(world.file("source", &before), &session, &Cancel::default()).unwrap();
        assert_eq!(stored.read_bytes, length as u64);
        let manifest = session
            .commit(ManifestDraft {
                source: Source { name: "volume".into(), ..Source::default() },
                created_at: Timestamp::now(),
                tier: "full".into(),
                reason: "test".into(),
                image: stored.image,
                mapped: None,
                read_bytes: stored.read_bytes,
                labels: Default::default(),
                ttl: None,
                previous: None,
            })
            .unwrap();
        let image = world.repository.image(&manifest, ReadLimits::default()).unwrap();
        for (name, old, blank) in
            [("blank", vec![0; length + 5000], true), ("old", vec![9; length + 5000], false)]
        {
            let target = DirectFile::new(world.file(name, &old)).unwrap();
            let job = Download { image: &image, target: &target, blank };
            super::download(&job, &LIMITS, &Progress::default(), &Cancel::default()).unwrap();
            let after = std::fs::read(world.folder.path().join(name)).unwrap();
            assert!(after[..length] == before, "{name} of {length}");
            assert!(super::is_hole(&after[length..]), "{name} of {length}");
        }
    }
}

/// Runs `act` many times and fails when one of them hangs.
fn never_hangs(act: impl Fn() + Send + 'static) {
    let runs = thread::spawn(move || (0..50).for_each(|_| act()));
    for _ in 0..600 {
        if runs.is_finished() {
            return runs.join().unwrap();
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("it hangs");
}

#[test]
fn a_source_that_ends_early_ends_the_upload() {
    let world = World::new();
    never_hangs(move || {
        let file = world.file("source", &content(1, 4 << 20));
        let shrunk = file.try_clone().unwrap();
        let source = DirectFile::new(file).unwrap();
        shrunk.set_len(1 << 20).unwrap();
        let session = world.begin();
        let (progress, cancel) = (Progress::default(), Cancel::default());
        let error = super::upload(&source, BLOCK_BYTES, &session, &LIMITS, &progress, &cancel);
        assert!(matches!(error, Err(StreamError::Read { .. })), "{error:?}");
    });
}

#[test]
fn a_canceled_upload_ends() {
    let world = World::new();
    never_hangs(move || {
        let file = world.file("source", &[]);
        file.set_len(1 << 40).unwrap();
        let cancel = Cancel::default();
        let canceled = cancel.clone();
        let soon = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            canceled.cancel(Canceled::Asked { by: "test".into() });
        });
        let error = upload(file, &world.begin(), &cancel);
        assert!(matches!(error, Err(StreamError::Canceled(_))), "{error:?}");
        soon.join().unwrap();
    });
}

#[test]
fn a_store_that_fails_ends_the_upload() {
    let world = World::new();
    never_hangs(move || {
        let mut bytes = vec![0; 12 << 20];
        File::open("/dev/urandom").unwrap().read_exact_at(&mut bytes, 0).unwrap();
        let session = world.begin();
        // The session's packs have nowhere to go.
        let domain = world.folder.path().join("repository/domain");
        let moved = world.folder.path().join("moved");
        std::fs::rename(&domain, &moved).unwrap();
        std::fs::write(&domain, "no folder").unwrap();
        let error = upload(world.file("source", &bytes), &session, &Cancel::default());
        assert!(matches!(error, Err(StreamError::Repository(_))), "{error:?}");
        std::fs::remove_file(&domain).unwrap();
        std::fs::rename(&moved, &domain).unwrap();
    });
}
