//! Large objects written past the page cache where the filesystem allows it: what is uploaded once
//! is not read again soon, and the application's cached pages are worth more.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use thinmover_io::{ALIGNMENT, DirectFile, IoEngine, IoFile, PooledBuffer, WriteBehind};

use super::unnamed::UnnamedFile;

/// One write request; large enough that the request's own cost does not count.
const STAGING_BYTES: usize = 1 << 20;
/// Writes in flight while the next buffer is filled.
const DEPTH: usize = 2;

/// Appends to an unnamed file through aligned buffers.
pub(super) struct StreamWriter {
    unnamed: UnnamedFile,
    file: IoFile,
    behind: WriteBehind,
    staging: PooledBuffer,
    staged: usize,
    written: u64,
}

impl StreamWriter {
    pub(super) fn new(
        unnamed: UnnamedFile,
        io: &IoEngine,
        expected_bytes: u64,
    ) -> io::Result<Self> {
        reserve(unnamed.file(), expected_bytes)?;
        let file = io.open(DirectFile::new(unnamed.file().try_clone()?)?)?;
        let behind = WriteBehind::new(DEPTH, 1, STAGING_BYTES);
        let staging = behind.buffer();
        Ok(Self { unnamed, file, behind, staging, staged: 0, written: 0 })
    }

    pub(super) fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let take = bytes.len().min(self.staging.len() - self.staged);
            let (now, later) = bytes.split_at(take);
            self.staging[self.staged..self.staged + take].copy_from_slice(now);
            self.staged += take;
            bytes = later;
            if self.staged == self.staging.len() {
                self.flush(self.staged)?;
            }
        }
        Ok(())
    }

    /// Writes what is left and cuts the file to its length. Durable only once published.
    pub(super) fn finish(mut self) -> io::Result<UnnamedFile> {
        let length = self.written + self.staged as u64;
        if self.staged > 0 {
            // Whole units of zero-padded bytes; the length below cuts the padding off.
            let padded = self.staged.next_multiple_of(ALIGNMENT);
            self.staging[self.staged..padded].fill(0);
            self.flush(padded)?;
        }
        self.behind.finish().map_err(|failed| failed.source)?;
        self.unnamed.file().set_len(length)?;
        Ok(self.unnamed)
    }

    fn flush(&mut self, length: usize) -> io::Result<()> {
        let written = self.behind.write(&self.file, &mut self.staging, length, self.written);
        written.map_err(|failed| failed.source)?;
        self.written += length as u64;
        self.staged = 0;
        Ok(())
    }
}

/// Takes the blocks beforehand, so that the file is in few pieces. Where there is not room for all
/// of it the writes will tell whether there is room enough.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    let Ok(length) = i64::try_from(bytes) else { return Ok(()) };
    if length == 0 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::empty(), 0, length) {
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        Err(Errno::ENOSPC | Errno::EDQUOT) => file.set_len(0),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Creation;

    #[test]
    fn any_lengths_of_appends_arrive_whole() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let bytes: Vec<u8> =
            (0..3 * STAGING_BYTES + 777).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        let io = IoEngine::default();
        for (number, step) in [1000, 4096, STAGING_BYTES + 1].into_iter().enumerate() {
            for (end, expected) in [(0, 0), (1, 0), (STAGING_BYTES, 32 << 20), (bytes.len(), 5)] {
                let name = format!("{number}-{end}");
                let unnamed = UnnamedFile::create(dir.path()).unwrap();
                let mut writer = StreamWriter::new(unnamed, &io, expected).unwrap();
                bytes[..end].chunks(step).for_each(|piece| writer.append(piece).unwrap());
                let creation = writer.finish().unwrap().publish(&name).unwrap();
                assert_eq!(creation, Creation::Created);
                assert!(std::fs::read(dir.path().join(&name)).unwrap() == bytes[..end], "{name}");
            }
        }
    }
}
