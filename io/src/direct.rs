//! Files read and written past the page cache where the filesystem allows it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::reserve::reserve;
use crate::size_bytes;

/// An open file or block device whose reads and writes bypass the page cache when they can.
///
/// A thin volume's snapshot is read once and never again: through the page cache it would push out
/// what the application needs.
#[derive(Debug)]
pub struct DirectFile {
    file: File,
    size_bytes: u64,
    direct: AtomicBool,
    must_be_direct: bool,
}

impl DirectFile {
    /// The least that O_DIRECT transfers, in bytes: the smallest logical block of any disk.
    pub(crate) const SECTOR_BYTES: usize = 512;

    /// Takes over `file` and turns O_DIRECT on. Where the filesystem refuses that (tmpfs, some
    /// network ones), or the size is no multiple of the sector so that the tail could not be
    /// written, it stays buffered; see [`is_direct`](Self::is_direct).
    ///
    /// # Errors
    /// What lseek(2) and fcntl(2) report.
    pub fn new(file: File) -> io::Result<Self> {
        let size_bytes = size_bytes(&file)?;
        let direct =
            size_bytes.is_multiple_of(Self::SECTOR_BYTES as u64) && set_direct(&file, true).is_ok();
        let direct = AtomicBool::new(direct);
        Ok(Self { file, size_bytes, direct, must_be_direct: false })
    }

    /// The same, but never through the page cache, not even where that would be the way out.
    ///
    /// # Errors
    /// `Unsupported` where the page cache cannot be bypassed.
    pub fn insist_on_direct(self) -> io::Result<Self> {
        if self.is_direct() {
            Ok(Self { must_be_direct: true, ..self })
        } else {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Size in bytes when it was opened.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Whether the page cache is bypassed.
    pub fn is_direct(&self) -> bool {
        self.direct.load(Relaxed)
    }

    /// Goes on through the page cache.
    pub(crate) fn give_up_direct(&self) -> io::Result<()> {
        if self.must_be_direct {
            return Err(io::ErrorKind::Unsupported.into());
        }
        set_direct(&self.file, false)?;
        self.direct.store(false, Relaxed);
        Ok(())
    }

    /// One pread(2).
    pub(crate) fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    /// One pwrite(2).
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    /// Another descriptor of the same open file.
    pub(crate) fn duplicate(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// See [`crate::discard`].
    ///
    /// # Errors
    /// As [`crate::discard`].
    pub fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        crate::discard(&self.file, offset, length)
    }

    /// Asks for room for `length` bytes at `offset` (bytes) that will be written: in a regular file
    /// writes find their blocks there already. A hint; nothing that is read changes.
    pub fn reserve(&self, offset: u64, length: u64) {
        reserve(&self.file, offset, length);
    }

    /// Returns once everything written is on stable storage, the device's own cache included.
    ///
    /// # Errors
    /// What fsync(2) reports; the data must then be taken as not written.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// Turns O_DIRECT on or off for all who share the open file.
///
/// # Errors
/// What fcntl(2) reports; EINVAL where the filesystem has no direct I/O.
pub fn set_direct(file: &File, on: bool) -> io::Result<()> {
    let mut flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    flags.set(OFlag::O_DIRECT, on);
    fcntl(file, FcntlArg::F_SETFL(flags))?;
    Ok(())
}
