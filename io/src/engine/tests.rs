//! What every engine promises, on each of them.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crossbeam_channel::unbounded;
use nix::errno::Errno;
use proptest::prelude::*;

use super::*;
use crate::{ALIGNMENT, BufferPool};

const BUFFER_BYTES: usize = 64 << 10;

fn faults(seed: u64) -> Faults {
    let delay = Duration::from_micros(200);
    Faults {
        seed,
        delay,
        longest_transfer: 3 * ALIGNMENT,
        failing: 0..0,
        errno: Errno::EIO,
        refuses_direct: false,
    }
}

/// All there are here. Where the kernel refuses a ring, that is said and the others are tested.
fn engines() -> Vec<IoEngine> {
    let kinds = [EngineKind::Blocking, EngineKind::IoUring];
    let real = kinds.into_iter().filter_map(|kind| match IoEngine::new(Some(kind)) {
        Ok(engine) => Some(engine),
        Err(error) => {
            eprintln!("not tested: {error}");
            None
        }
    });
    real.chain((1..4).map(|seed| IoEngine::faulty(faults(seed)))).collect()
}

/// A folder on a disk: what the system keeps in /tmp may know no O_DIRECT.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap()
}

fn open(engine: &IoEngine, path: &Path) -> IoFile {
    let file = File::options().read(true).write(true).open(path).unwrap();
    engine.open(DirectFile::new(file).unwrap()).unwrap()
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1] ^ at.to_le_bytes()[2]).collect()
}

/// Writes `bytes` in pieces, many of them in flight.
fn write_all(file: &IoFile, bytes: &[u8], piece_bytes: usize) {
    const DEPTH: usize = 8;
    let pool = BufferPool::new(DEPTH, BUFFER_BYTES);
    let (answer, answers) = unbounded();
    for (number, piece) in (0..).zip(bytes.chunks(piece_bytes)) {
        if number >= DEPTH as u64 {
            check_written(answers.recv().unwrap());
        }
        let mut buffer = pool.take();
        buffer[..piece.len()].copy_from_slice(piece);
        let offset = number * piece_bytes as u64;
        file.write(Request { tag: number, offset, length: piece.len(), buffer }, &answer);
    }
    drop(answer);
    answers.into_iter().for_each(check_written);
}

fn check_written(done: Completion) {
    done.result.unwrap();
}

fn read_all(file: &IoFile, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    let pool = BufferPool::new(size.div_ceil(BUFFER_BYTES), BUFFER_BYTES);
    let (answer, answers) = unbounded();
    for (tag, offset) in (0..size).step_by(BUFFER_BYTES).enumerate() {
        let length = BUFFER_BYTES.min(size - offset);
        let buffer = pool.take();
        file.read(Request { tag: tag as u64, offset: offset as u64, length, buffer }, &answer);
    }
    drop(answer);
    for done in answers {
        let buffer = done.result.unwrap();
        let at = usize::try_from(done.offset).unwrap();
        assert_eq!(done.tag, (at / BUFFER_BYTES) as u64);
        bytes[at..at + done.length].copy_from_slice(&buffer[..done.length]);
    }
    bytes
}

#[test]
fn what_is_written_in_any_order_is_there() {
    let folder = folder();
    let path = folder.path().join("file");
    for engine in engines() {
        for size in [ALIGNMENT, 40 * ALIGNMENT, 1 << 20, (1 << 20) + 512, (1 << 20) + 100] {
            File::create(&path).unwrap().set_len(size as u64).unwrap();
            let bytes = pattern(size);
            let file = open(&engine, &path);
            assert_eq!(file.size_bytes(), size as u64);
            write_all(&file, &bytes, 3 * ALIGNMENT);
            assert!(fs::read(&path).unwrap() == bytes, "{engine:?}, {size} bytes written");
            assert!(read_all(&file, size) == bytes, "{engine:?}, {size} bytes read");
        }
    }
}

#[test]
fn a_file_that_ends_before_the_request_is_an_error() {
    let folder = folder();
    let path = folder.path().join("file");
    for engine in engines() {
        for size in [4 * ALIGNMENT, 4 * ALIGNMENT - 512, 4 * ALIGNMENT - 100] {
            fs::write(&path, pattern(4 * ALIGNMENT)).unwrap();
            let file = open(&engine, &path);
            File::options().write(true).open(&path).unwrap().set_len(size as u64).unwrap();
            let pool = BufferPool::new(1, BUFFER_BYTES);
            let error = file.read_now(pool.take(), size + 1, 0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{engine:?}, {size} bytes");
            let buffer = file.read_now(pool.take(), size, 0).unwrap();
            assert!(buffer[..size] == pattern(size), "{engine:?}, {size} bytes");
        }
    }
}

#[test]
fn the_kernels_error_arrives_and_the_buffer_goes_home() {
    let folder = folder();
    let path = folder.path().join("file");
    fs::write(&path, pattern(4 * ALIGNMENT)).unwrap();
    for engine in engines() {
        let file = engine.open(DirectFile::new(File::open(&path).unwrap()).unwrap()).unwrap();
        let pool = BufferPool::new(1, BUFFER_BYTES);
        let (answer, answers) = unbounded();
        let request = |length| Request { tag: 7, offset: 0, length, buffer: pool.take() };
        file.write(request(ALIGNMENT), &answer);
        let done = answers.recv().unwrap();
        assert_eq!(done.tag, 7);
        assert_eq!(
            done.result.unwrap_err().raw_os_error(),
            Some(Errno::EBADF as i32),
            "{engine:?}"
        );

        file.read(request(BUFFER_BYTES + 1), &answer);
        let done = answers.recv().unwrap();
        assert_eq!(done.result.unwrap_err().kind(), ErrorKind::InvalidInput, "{engine:?}");
        file.read(request(0), &answer);
        answers.recv().unwrap().result.unwrap();
    }
}

#[test]
fn a_closed_file_is_open_nowhere_and_an_idle_engine_is_gone() {
    let folder = folder();
    for (number, engine) in engines().into_iter().enumerate() {
        let path = folder.path().join(number.to_string());
        fs::write(&path, pattern(1 << 20)).unwrap();
        let file = open(&engine, &path);
        let pool = BufferPool::new(16, BUFFER_BYTES);
        let (answer, answers) = unbounded();
        for (tag, offset) in (0..).zip((0..1 << 20).step_by(BUFFER_BYTES)) {
            let buffer = pool.take();
            file.read(Request { tag, offset, length: BUFFER_BYTES, buffer }, &answer);
        }
        // Nobody waits for the completions.
        drop((answers, answer));
        drop(file);
        let open_files = fs::read_dir("/proc/self/fd").unwrap();
        let still_open = open_files.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        assert!(still_open.into_iter().all(|target| target != path), "{engine:?}");
        assert!(engine.0.running.lock().unwrap().upgrade().is_none(), "{engine:?}");
        (0..16).map(|_| pool.take()).for_each(drop);
    }
}

#[test]
fn two_files_share_the_engine_and_keep_apart() {
    let folder = folder();
    for engine in engines() {
        let files: Vec<_> = [1, 2]
            .map(|fill| {
                let path = folder.path().join(fill.to_string());
                fs::write(&path, vec![fill; BUFFER_BYTES]).unwrap();
                open(&engine, &path)
            })
            .into();
        let pool = BufferPool::new(1, BUFFER_BYTES);
        for (file, fill) in files.into_iter().zip([1, 2]) {
            let buffer = file.read_now(pool.take(), BUFFER_BYTES, 0).unwrap();
            assert!(buffer.iter().all(|&byte| byte == fill), "{engine:?}");
        }
    }
}

#[test]
fn a_failing_disk_is_an_error_and_a_refused_alignment_is_not() {
    let folder = folder();
    let path = folder.path().join("file");
    fs::write(&path, pattern(BUFFER_BYTES)).unwrap();
    let pool = BufferPool::new(1, BUFFER_BYTES);
    let failing = |errno| IoEngine::faulty(Faults { failing: 1..2, errno, ..faults(1) });

    let file = open(&failing(Errno::EIO), &path);
    let error = file.read_now(pool.take(), BUFFER_BYTES, 0).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::EIO as i32));

    let refusing = IoEngine::faulty(Faults { refuses_direct: true, ..faults(1) });
    for (engine, stays_direct) in [(failing(Errno::EINTR), true), (refusing, false)] {
        let file = open(&engine, &path);
        assert!(file.direct().is_direct());
        let buffer = file.read_now(pool.take(), BUFFER_BYTES, 0).unwrap();
        assert!(buffer[..] == pattern(BUFFER_BYTES));
        assert_eq!(file.direct().is_direct(), stays_direct);
    }
}

#[test]
fn every_request_in_flight_survives_a_refused_alignment() {
    const REQUESTS: u64 = 16;
    let folder = folder();
    let path = folder.path().join("file");
    let bytes = pattern(16 * ALIGNMENT);
    fs::write(&path, &bytes).unwrap();
    let refusing = Faults { refuses_direct: true, ..faults(1) };
    let file = open(&IoEngine::faulty(refusing), &path);
    let pool = BufferPool::new(16, BUFFER_BYTES);
    let (answer, answers) = unbounded();
    for tag in 0..REQUESTS {
        let offset = tag * ALIGNMENT as u64;
        file.read(Request { tag, offset, length: ALIGNMENT, buffer: pool.take() }, &answer);
    }
    drop(answer);
    assert!(answers.into_iter().all(|done| done.result.is_ok()));
}

#[test]
fn who_insists_on_direct_reads_gets_the_error_and_no_cached_bytes() {
    let folder = folder();
    let path = folder.path().join("file");
    fs::write(&path, pattern(BUFFER_BYTES)).unwrap();
    let refusing = IoEngine::faulty(Faults { refuses_direct: true, ..faults(1) });
    let file = DirectFile::new(File::open(&path).unwrap()).unwrap().insist_on_direct().unwrap();
    let file = refusing.open(file).unwrap();
    let pool = BufferPool::new(1, BUFFER_BYTES);
    let error = file.read_now(pool.take(), BUFFER_BYTES, 0).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::EINVAL as i32));
    assert!(file.direct().is_direct());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_schedule_of_a_bad_disk_reads_what_is_there(
        seed: u64,
        lengths in proptest::collection::vec(1..BUFFER_BYTES, 1..20),
    ) {
        let bytes = pattern(BUFFER_BYTES * 2);
        let source = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        source.write_all_at(&bytes, 0).unwrap();
        let file = IoEngine::faulty(faults(seed)).open(DirectFile::new(source).unwrap()).unwrap();
        let pool = BufferPool::new(lengths.len(), BUFFER_BYTES);
        let (answer, answers) = unbounded();
        for (tag, &length) in (0..).zip(&lengths) {
            let offset = tag % 16 * ALIGNMENT as u64;
            file.read(Request { tag, offset, length, buffer: pool.take() }, &answer);
        }
        drop(answer);
        let mut ended = 0;
        for done in answers {
            let buffer = done.result.unwrap();
            let at = usize::try_from(done.offset).unwrap();
            prop_assert!(buffer[..done.length] == bytes[at..at + done.length]);
            ended += 1;
        }
        prop_assert_eq!(ended, lengths.len());
    }
}
