//! What a block device offers beyond a file.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;

/// The size in bytes of an open regular file or block device.
///
/// # Errors
/// What lseek(2) reports; the file's position is moved to its end.
pub fn size_bytes(mut file: &File) -> io::Result<u64> {
    file.seek(SeekFrom::End(0))
}

/// Tells the device (or the filesystem, for a regular file) that `length` bytes at `offset` are no
/// longer needed. Both are in bytes, multiples of the logical block size for a device.
///
/// This is a hint for block devices: what is read afterwards may be the old bytes (dm-thin ignores
/// the parts that do not cover a whole chunk), so whoever needs zeroes reads and writes them. In a
/// regular file the range becomes a hole and reads as zeroes.
///
/// # Errors
/// `Unsupported` where the device or filesystem has no such call, else what the kernel reports.
pub fn discard(file: &File, offset: u64, length: u64) -> io::Result<()> {
    if file.metadata()?.file_type().is_block_device() {
        return Ok(blkdiscard::call(file.as_raw_fd(), &[offset, length])?);
    }
    punch_hole(file, offset, length)
}

fn punch_hole(file: &File, offset: u64, length: u64) -> io::Result<()> {
    use nix::fcntl::{FallocateFlags, fallocate};
    let to_off = |value: u64| i64::try_from(value).map_err(|_| io::ErrorKind::InvalidInput);
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    Ok(fallocate(file, flags, to_off(offset)?, to_off(length)?)?)
}

#[allow(unsafe_code)]
mod blkdiscard {
    use std::os::fd::RawFd;

    // BLKDISCARD of linux/fs.h: _IO(0x12, 119) with a pointer to { offset, length } in bytes.
    nix::ioctl_write_ptr_bad!(raw, nix::request_code_none!(0x12, 119), [u64; 2]);

    pub(super) fn call(device: RawFd, range: &[u64; 2]) -> nix::Result<()> {
        // SAFETY: the kernel reads two u64 through the pointer and keeps nothing of it; `device` is
        // borrowed from a live `File`.
        unsafe { raw(device, range) }.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::{FileExt, MetadataExt};

    #[test]
    fn a_discarded_range_of_a_file_reads_as_zeroes_and_keeps_its_size() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 65536]).unwrap();
        discard(&file, 4096, 8192).unwrap();
        let mut bytes = vec![1; 65536];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes[4096..12288].iter().all(|&byte| byte == 0));
        assert_eq!((bytes[4095], bytes[12288]), (7, 7));
        assert_eq!((size_bytes(&file).unwrap(), file.metadata().unwrap().size()), (65536, 65536));
    }
}
