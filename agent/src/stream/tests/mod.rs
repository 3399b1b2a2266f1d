//! The data path end to end, in process, and ended early at each of its stages.

mod delta;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use nix::errno::Errno;
use thinmover_io::{DirectFile, EngineKind, Faults, IoEngine, IoFile};
use thinmover_repository::{
    Domain, InitOptions, Manifest, ManifestDraft, Passphrase, PassphraseCost, ReadLimits,
    Repository, Source, Upload, UploadLimits, VolumeKey, open_store,
};

use super::ranges::rounded;
use super::{Cancel, Canceled, Download, Input, Limits, Part, Progress, StreamError};
use crate::stream::upload::Uploaded;

const BLOCK_BYTES: u32 = 64 << 10;

/// Few and small buffers, so that even small sources make the stages wait for each other.
const LIMITS: Limits = Limits {
    workers: 2,
    writers: 3,
    fetchers: 2,
    buffers: 3,
    buffer_bytes: 128 << 10,
    window_blocks: 10,
    index_bytes: 8 << 20,
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
        let repository = Repository::init(
            open_store(&url, &IoEngine::default()).unwrap(),
            &options,
            &passphrase,
        )
        .unwrap();
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

/// A disk that answers late, in pieces and in any order, and fails for good at some attempt.
fn faulty(seed: u64, fails_at: u64) -> IoEngine {
    IoEngine::faulty(Faults {
        seed,
        delay: Duration::from_micros(20),
        longest_transfer: 64 << 10,
        failing: fails_at..u64::MAX,
        errno: Errno::EIO,
        refuses_direct: false,
    })
}

/// Those that work. Where the kernel refuses a ring, that is said and the others are tested.
fn engines() -> Vec<IoEngine> {
    let kinds = [EngineKind::Blocking, EngineKind::IoUring];
    let real = kinds.into_iter().filter_map(|kind| {
        IoEngine::new(Some(kind)).inspect_err(|error| eprintln!("not tested: {error}")).ok()
    });
    real.chain([faulty(1, u64::MAX)]).collect()
}

fn open(engine: &IoEngine, file: File) -> IoFile {
    engine.open(DirectFile::new(file).unwrap()).unwrap()
}

fn upload(source: &IoFile, upload: &Upload, cancel: &Cancel) -> Result<Uploaded, StreamError> {
    super::upload(Input::whole(source), BLOCK_BYTES, upload, &LIMITS, &Progress::default(), cancel)
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

impl World {
    /// Uploads `content` through `engine` and commits it.
    fn back_up(&self, engine: &IoEngine, content: &[u8]) -> Manifest {
        let session = self.begin();
        let source = open(engine, self.file("source", content));
        let stored = upload(&source, &session, &Cancel::default()).unwrap();
        assert_eq!(stored.read_bytes, content.len() as u64);
        let draft = ManifestDraft {
            source: Source { name: "volume".into(), ..Source::default() },
            created_at: Timestamp::now(),
            tier: "full".into(),
            reason: "test".into(),
            image: stored.image,
            mapped: None,
            lineage: None,
            read_bytes: stored.read_bytes,
            labels: Default::default(),
            ttl: None,
            previous: None,
        };
        session.commit(draft).unwrap()
    }

    /// Restores over `old` through `engine`; what is there afterwards.
    fn restore(
        &self,
        engine: &IoEngine,
        manifest: &Manifest,
        old: &[u8],
    ) -> Result<Vec<u8>, StreamError> {
        let image = self.repository.image(manifest, ReadLimits::default()).unwrap();
        let target = open(engine, self.file("target", old));
        let blank = super::is_hole(old);
        let (progress, cancel) = (Progress::default(), Cancel::default());
        let job = Download { image: &image, target: &target, blank, unseen: false, stale: false };
        super::download(&job, None, &LIMITS, &progress, &cancel)?;
        Ok(std::fs::read(self.folder.path().join("target")).unwrap())
    }
}

#[test]
fn what_went_in_comes_out_over_whatever_was_there_whatever_the_engine() {
    for engine in engines() {
        let world = World::new();
        for (seed, length) in (1..).zip([1, 4096, 65_537, 3_000_000, 9_000_001]) {
            let before = content(seed, length);
            let manifest = world.back_up(&engine, &before);
            for old in [0, 9] {
                let after = world.restore(&engine, &manifest, &vec![old; length + 5000]).unwrap();
                assert!(after[..length] == before, "{engine:?}, {length} bytes over {old}");
                assert!(super::is_hole(&after[length..]), "{engine:?}, {length} bytes over {old}");
            }
        }
    }
}

#[test]
fn the_image_does_not_depend_on_the_engine() {
    let world = World::new();
    let content = content(7, 5_000_000);
    let images: Vec<_> = engines()
        .iter()
        .map(|engine| world.back_up(engine, &content).image_root().unwrap())
        .collect();
    assert!(images.windows(2).all(|two| two[0] == two[1]));
}

#[test]
fn what_the_plan_leaves_out_is_a_hole_and_is_not_read() {
    const BLOCK: u64 = BLOCK_BYTES as u64;
    let world = World::new();
    let size = 40 * BLOCK + 100;
    for extents in [
        vec![],
        [(0, 1)].map(|(start, end)| start..end).to_vec(),
        vec![3 * BLOCK - 1..3 * BLOCK + 1, 5 * BLOCK..9 * BLOCK],
        vec![BLOCK..2 * BLOCK, 39 * BLOCK..size],
    ] {
        // Another byte than zero wherever it is read or must not be.
        let bytes = vec![7; usize::try_from(size).unwrap()];
        let touched: Vec<bool> = (0..size.div_ceil(BLOCK))
            .map(|block| (block * BLOCK, (block + 1) * BLOCK))
            .map(|(start, end)| {
                extents.iter().any(|extent| extent.start < end && start < extent.end)
            })
            .collect();
        let mut expected = bytes.clone();
        for (block, _) in touched.iter().enumerate().filter(|(_, touched)| !**touched) {
            let start = block * BLOCK_BYTES as usize;
            let end = (start + BLOCK_BYTES as usize).min(expected.len());
            expected[start..end].fill(0);
        }
        let source = open(&IoEngine::default(), world.file("source", &bytes));
        let whole = open(&IoEngine::default(), world.file("expected", &expected));
        let (progress, cancel) = (Progress::default(), Cancel::default());
        let rounded = rounded(extents.clone().into_iter().map(Ok), size, BLOCK);
        let plan = Box::new(rounded.map(|range| range.map(|range| (range, Part::Read))));
        let input = Input { file: &source, plan, base: None };
        let session = world.begin();
        let stored =
            super::upload(input, BLOCK_BYTES, &session, &LIMITS, &progress, &cancel).unwrap();
        let image = upload(&whole, &session, &cancel).unwrap().image;
        assert_eq!(stored.image, image, "{extents:?}");
        let read = expected.iter().filter(|byte| **byte != 0).count();
        assert_eq!(stored.read_bytes, read as u64, "{extents:?}");
    }
}

#[test]
fn what_the_plan_leaves_out_is_what_the_base_has() {
    const BLOCK: u64 = BLOCK_BYTES as u64;
    let (world, engine, cancel) = (World::new(), IoEngine::default(), Cancel::default());
    let before = content(5, 40 * BLOCK_BYTES as usize);
    let base = world.back_up(&engine, &before);
    let (session, progress) = (world.begin(), Progress::default());
    let base = session.live_backup(&base.id).unwrap().unwrap();
    let base = session.base_image(&base, ReadLimits::default()).unwrap();
    let mut after = before;
    after[3 * BLOCK_BYTES as usize..5 * BLOCK_BYTES as usize].fill(9);
    after[20 * BLOCK_BYTES as usize..31 * BLOCK_BYTES as usize].fill(0);
    let source = open(&engine, world.file("source", &after));
    let plan = [(3 * BLOCK..5 * BLOCK, Part::Read), (20 * BLOCK..31 * BLOCK, Part::Hole)];
    let plan = Box::new(plan.into_iter().map(Ok));
    let input = Input { file: &source, plan, base: Some(&base) };
    let stored = super::upload(input, BLOCK_BYTES, &session, &LIMITS, &progress, &cancel).unwrap();
    assert_eq!(stored.image, upload(&source, &session, &cancel).unwrap().image);
    assert_eq!(stored.read_bytes, 2 * BLOCK);
}

#[test]
fn a_plan_that_cannot_be_had_ends_the_upload() {
    let world = World::new();
    let source = open(&IoEngine::default(), world.file("source", &vec![7; 1 << 20]));
    let plan = [Ok((0..65536, Part::Read)), Err(std::io::ErrorKind::UnexpectedEof.into())];
    let input = Input { file: &source, plan: Box::new(plan.into_iter()), base: None };
    let (progress, cancel) = (Progress::default(), Cancel::default());
    let error =
        super::upload(input, BLOCK_BYTES, &world.begin(), &LIMITS, &progress, &cancel).unwrap_err();
    assert!(matches!(error, StreamError::Plan(_)), "{error}");
}

#[test]
fn one_byte_anywhere_makes_a_target_not_blank() {
    let world = World::new();
    let is_blank = |engine: &IoEngine, content: &[u8]| {
        let file = open(engine, world.file("target", content));
        super::is_blank(&file, &LIMITS, &Progress::default(), &Cancel::default()).unwrap()
    };
    for engine in engines() {
        for length in [0, 1, 4096, 1 << 20, 3_000_001] {
            let mut content = vec![0; length];
            assert!(is_blank(&engine, &content), "{engine:?}, {length} bytes");
            if let Some(last) = content.last_mut() {
                *last = 1;
                assert!(!is_blank(&engine, &content), "{engine:?}, {length} bytes");
            }
        }
    }
}

#[test]
fn a_disk_that_fails_ends_an_upload_and_a_download() {
    let world = World::new();
    let content = content(3, 4 << 20);
    let manifest = world.back_up(&IoEngine::default(), &content);
    let blank = vec![0; content.len()];
    for fails_at in [0, 1, 17] {
        let source = open(&faulty(fails_at, fails_at), world.file("source", &content));
        let error = upload(&source, &world.begin(), &Cancel::default()).unwrap_err();
        assert!(matches!(error, StreamError::Read { .. }), "{error:?}");
        let restored = world.restore(&faulty(fails_at, fails_at), &manifest, &blank);
        let error = restored.map(|bytes| bytes.len()).unwrap_err();
        assert!(matches!(error, StreamError::Write { .. }), "{error:?}");
    }
}

/// Runs `act` many times and fails when one of them hangs.
fn never_hangs(act: impl Fn() + Send + 'static) {
    let runs = thread::spawn(move || (0..50).for_each(|_| act()));
    for _ in 0..3000 {
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
        let source = open(&IoEngine::default(), file);
        shrunk.set_len(1 << 20).unwrap();
        let session = world.begin();
        let (progress, cancel) = (Progress::default(), Cancel::default());
        let error = super::upload(
            Input::whole(&source),
            BLOCK_BYTES,
            &session,
            &LIMITS,
            &progress,
            &cancel,
        );
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
        let source = open(&IoEngine::default(), file);
        let error = upload(&source, &world.begin(), &cancel);
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
        let source = open(&IoEngine::default(), world.file("source", &bytes));
        let error = upload(&source, &session, &Cancel::default());
        assert!(matches!(error, Err(StreamError::Repository(_))), "{error:?}");
        std::fs::remove_file(&domain).unwrap();
        std::fs::rename(&moved, &domain).unwrap();
    });
}

#[test]
fn a_repository_that_fails_ends_the_download() {
    let world = World::new();
    let mut bytes = vec![0; 24 << 20];
    File::open("/dev/urandom").unwrap().read_exact_at(&mut bytes, 0).unwrap();
    let manifest = world.back_up(&IoEngine::default(), &bytes);
    let domain = std::fs::read_dir(world.folder.path().join("repository/domain")).unwrap();
    let packs = domain.map(|domain| domain.unwrap().path().join("pack")).next().unwrap();
    let pack = std::fs::read_dir(packs).unwrap().map(|pack| pack.unwrap().path()).max().unwrap();
    let old = vec![0; bytes.len()];
    never_hangs(move || {
        let shortened = File::options().write(true).open(&pack).unwrap();
        for length in [shortened.metadata().unwrap().len() / 2, 0] {
            shortened.set_len(length).unwrap();
            let error = world.restore(&IoEngine::default(), &manifest, &old);
            let error = error.map(|bytes| bytes.len());
            assert!(matches!(error, Err(StreamError::Block { .. })), "{error:?}");
        }
        // Sparse: every blob in it is there and none is what was written.
        shortened.set_len(64 << 20).unwrap();
        let error = world.restore(&IoEngine::default(), &manifest, &old);
        let error = error.map(|bytes| bytes.len());
        assert!(matches!(error, Err(StreamError::Block { .. })), "{error:?}");
    });
}

#[test]
fn a_disk_that_fails_at_any_write_never_holds_a_download_up() {
    let world = World::new();
    let content = content(5, 6 << 20);
    let manifest = world.back_up(&IoEngine::default(), &content);
    let old = vec![9; content.len()];
    let attempts = std::cell::Cell::new(0);
    never_hangs(move || {
        attempts.set(attempts.get() + 2);
        let restored = world.restore(&faulty(attempts.get(), attempts.get()), &manifest, &old);
        let error = restored.map(|bytes| bytes.len());
        let failed = |error: &StreamError| {
            matches!(error, StreamError::Write { .. } | StreamError::Read { .. })
        };
        assert!(error.as_ref().is_err_and(failed), "{error:?}");
    });
}

#[test]
fn a_canceled_download_ends() {
    let world = World::new();
    let content = content(6, 6 << 20);
    let manifest = world.back_up(&IoEngine::default(), &content);
    never_hangs(move || {
        let image = world.repository.image(&manifest, ReadLimits::default()).unwrap();
        // What is behind the image is cleared as well, which takes long.
        let file = world.file("target", &[]);
        file.set_len(1 << 40).unwrap();
        let target = open(&IoEngine::default(), file);
        let job =
            Download { image: &image, target: &target, blank: false, unseen: false, stale: false };
        let (progress, cancel) = (Progress::default(), Cancel::default());
        let canceled = cancel.clone();
        let soon = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            canceled.cancel(Canceled::Asked { by: "test".into() });
        });
        let error = super::download(&job, None, &LIMITS, &progress, &cancel);
        assert!(matches!(error, Err(StreamError::Canceled(_))), "{error:?}");
        soon.join().unwrap();
    });
}
