//! Files read and written past the page cache where the filesystem allows it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::{ALIGNMENT, size_bytes};

/// An open file or block device whose reads and writes bypass the page cache when they can.
///
/// A thin volume's snapshot is read once and never again: through the page cache it would push out
/// what the application needs.
#[derive(Debug)]
pub struct DirectFile {
    file: File,
    size_bytes: u64,
    direct: bool,
}

impl DirectFile {
    /// Takes over `file` and turns O_DIRECT on. Where the filesystem refuses that (tmpfs, some
    /// network ones), or the size is no multiple of the sector so that the tail could not be
    /// written, it stays buffered; see [`is_direct`](Self::is_direct).
    ///
    /// # Errors
    /// What lseek(2) and fcntl(2) report.
    pub fn new(file: File) -> io::Result<Self> {
        let size_bytes = size_bytes(&file)?;
        let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
        let direct = size_bytes.is_multiple_of(512)
            && fcntl(&file, FcntlArg::F_SETFL(flags | OFlag::O_DIRECT)).is_ok();
        Ok(Self { file, size_bytes, direct })
    }

    /// Size in bytes when it was opened.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Whether the page cache is bypassed.
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// Reads `length` bytes at `offset` (bytes) into the front of `buffer`. With direct I/O the
    /// buffer's address and the offset must be multiples of the logical block size, as those of an
    /// [`AlignedBuffer`] and offsets in multiples of [`ALIGNMENT`] are; the length need not be, but
    /// the buffer must have room for it rounded up to [`ALIGNMENT`].
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends first, else what pread(2) reports.
    ///
    /// [`AlignedBuffer`]: crate::AlignedBuffer
    pub fn read_exact_at(&self, buffer: &mut [u8], length: usize, offset: u64) -> io::Result<()> {
        debug_assert!(!self.direct || (buffer.as_ptr() as usize).is_multiple_of(ALIGNMENT));
        let wanted = if self.direct { length.next_multiple_of(ALIGNMENT) } else { length };
        let buffer = buffer.get_mut(..wanted).ok_or(io::ErrorKind::InvalidInput)?;
        let mut filled = 0;
        while filled < length {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset` (bytes), aligned as for
    /// [`read_exact_at`](Self::read_exact_at), the length included.
    ///
    /// # Errors
    /// What pwrite(2) reports.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        debug_assert!(!self.direct || (bytes.as_ptr() as usize).is_multiple_of(ALIGNMENT));
        self.file.write_all_at(bytes, offset)
    }

    /// See [`crate::discard`].
    ///
    /// # Errors
    /// As [`crate::discard`].
    pub fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        crate::discard(&self.file, offset, length)
    }

    /// Returns once everything written is on stable storage, the device's own cache included.
    ///
    /// # Errors
    /// What fsync(2) reports; the data must then be taken as not written.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AlignedBuffer;

    #[test]
    fn what_was_written_is_read_back() {
        for size in [64 << 10, (64 << 10) + 100] {
            let file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
            file.set_len(size).unwrap();
            let file = DirectFile::new(file).unwrap();
            assert_eq!(file.size_bytes(), size);
            let mut buffer = AlignedBuffer::new(8192);
            buffer.fill(9);
            file.write_all_at(&buffer, 4096).unwrap();
            buffer.fill(0);
            file.read_exact_at(&mut buffer, 8192, 4096).unwrap();
            assert!(buffer.iter().all(|&byte| byte == 9));
        }
    }

    #[test]
    fn an_unaligned_tail_can_be_read() {
        for size in [8192 + 512, 8192 + 100] {
            let file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
            file.write_all_at(&vec![5; size], 0).unwrap();
            let file = DirectFile::new(file).unwrap();
            let mut buffer = AlignedBuffer::new(4096);
            file.read_exact_at(&mut buffer, size - 8192, 8192).unwrap();
            assert!(buffer[..size - 8192].iter().all(|&byte| byte == 5));
        }
    }

    #[test]
    fn reading_past_the_end_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        let file = DirectFile::new(file).unwrap();
        let mut buffer = AlignedBuffer::new(8192);
        let error = file.read_exact_at(&mut buffer, 8192, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
