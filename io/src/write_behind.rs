//! One thread's writes, a few of them in flight while it fills the next buffer.

use std::fmt;
use std::io;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::{BufferPool, Completion, IoFile, PooledBuffer, Request};

/// Buffers to fill and to hand to an [`IoFile`], as many as may be in flight and those being filled.
pub struct WriteBehind {
    pool: BufferPool,
    depth: usize,
    in_flight: usize,
    failed: bool,
    answer: Sender<Completion>,
    answers: Receiver<Completion>,
}

/// A write that failed. What else was in flight may or may not be written.
#[derive(Debug)]
pub struct WriteFailed {
    /// Where in the file, in bytes.
    pub offset: u64,
    /// How much, in bytes.
    pub length: usize,
    /// What the kernel reported.
    pub source: io::Error,
}

impl WriteBehind {
    /// Up to `depth` writes in flight, of up to `buffer_bytes` each, while `filling` are filled.
    pub fn new(depth: usize, filling: usize, buffer_bytes: usize) -> Self {
        let (answer, answers) = unbounded();
        let pool = BufferPool::new(depth + filling, buffer_bytes);
        Self { pool, depth, in_flight: 0, failed: false, answer, answers }
    }

    /// A buffer to fill, as its last user left it. Called once for each that is filled at a time: one
    /// more would wait forever.
    pub fn buffer(&self) -> PooledBuffer {
        self.pool.take()
    }

    /// Begins to write the first `length` bytes of `buffer` at `offset` of `file`, aligned as a
    /// [`Request`] is, and puts the next buffer to fill in its place. Waits while too many are in
    /// flight.
    ///
    /// # Errors
    /// That of an earlier write, once and for all; nothing is begun then.
    pub fn write(
        &mut self,
        file: &IoFile,
        buffer: &mut PooledBuffer,
        length: usize,
        offset: u64,
    ) -> Result<(), WriteFailed> {
        while self.in_flight >= self.depth {
            self.await_one()?;
        }
        self.check_earlier(offset, length)?;
        let buffer = std::mem::replace(buffer, self.pool.take());
        file.write(Request { tag: 0, offset, length, buffer }, &self.answer);
        self.in_flight += 1;
        Ok(())
    }

    /// Returns once nothing is in flight.
    ///
    /// # Errors
    /// The first failure, after all have ended.
    pub fn finish(&mut self) -> Result<(), WriteFailed> {
        let mut first = self.check_earlier(0, 0);
        while self.in_flight > 0 {
            first = first.and(self.await_one());
        }
        first
    }

    fn await_one(&mut self) -> Result<(), WriteFailed> {
        // Cannot be disconnected: one sender is our own.
        let Ok(Completion { offset, length, result, .. }) = self.answers.recv() else {
            return Ok(());
        };
        self.in_flight -= 1;
        self.failed |= result.is_err();
        result.map(drop).map_err(|source| WriteFailed { offset, length, source })
    }

    fn check_earlier(&self, offset: u64, length: usize) -> Result<(), WriteFailed> {
        if self.failed {
            let source = io::Error::other("an earlier write failed");
            return Err(WriteFailed { offset, length, source });
        }
        Ok(())
    }
}

impl fmt::Debug for WriteBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBehind").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ALIGNMENT, DirectFile, EngineKind, Faults, IoEngine};
    use nix::errno::Errno;
    use std::fs::{self, File};
    use std::time::Duration;

    fn write_pages(engine: &IoEngine, pages: u8) -> (Vec<u8>, Result<(), WriteFailed>) {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = folder.path().join("file");
        let file = File::create(&path).unwrap();
        let file = engine.open(DirectFile::new(file).unwrap()).unwrap();
        let mut behind = WriteBehind::new(2, 1, ALIGNMENT);
        let mut buffer = behind.buffer();
        let written = (0..pages).try_for_each(|page| {
            buffer.fill(page);
            let offset = u64::from(page) * ALIGNMENT as u64;
            behind.write(&file, &mut buffer, ALIGNMENT, offset)
        });
        let written = written.and(behind.finish());
        (fs::read(path).unwrap(), written)
    }

    fn faulty(failing: std::ops::Range<u64>) -> IoEngine {
        let (delay, errno) = (Duration::from_micros(100), Errno::ENOSPC);
        IoEngine::faulty(Faults {
            seed: 5,
            delay,
            longest_transfer: ALIGNMENT,
            failing,
            errno,
            refuses_direct: false,
        })
    }

    #[test]
    fn everything_is_written_once_it_is_finished() {
        let expected: Vec<u8> = (0..50).flat_map(|page| [page; ALIGNMENT]).collect();
        for engine in [IoEngine::new(Some(EngineKind::Blocking)).unwrap(), faulty(0..0)] {
            let (content, written) = write_pages(&engine, 50);
            written.unwrap();
            assert!(content == expected, "{engine:?}");
        }
    }

    #[test]
    fn a_failure_says_where_whether_it_comes_early_or_last() {
        for failing in [0..1, 7..9, 49..50] {
            let (_, written) = write_pages(&faulty(failing.clone()), 50);
            let failed = written.unwrap_err();
            assert_eq!(failed.source.raw_os_error(), Some(Errno::ENOSPC as i32), "{failing:?}");
            assert_eq!(failed.length, ALIGNMENT);
        }
    }

    #[test]
    fn a_failure_that_was_told_is_not_forgotten() {
        let file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let file = faulty(0..1).open(DirectFile::new(file).unwrap()).unwrap();
        let mut behind = WriteBehind::new(2, 1, ALIGNMENT);
        let mut buffer = behind.buffer();
        behind.write(&file, &mut buffer, ALIGNMENT, 0).unwrap();
        behind.finish().unwrap_err();
        behind.write(&file, &mut buffer, ALIGNMENT, 0).unwrap_err();
        behind.finish().unwrap_err();
    }
}
