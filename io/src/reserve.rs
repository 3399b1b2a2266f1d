//! Room for a file that will be written in pieces and in no order.

use std::fs::File;

use nix::fcntl::{FallocateFlags, fallocate};

/// Asks the filesystem for the blocks of `length` bytes at `offset` of a regular file, whose size
/// stays. What holds nothing yet reads as zeroes, as before.
///
/// It makes direct writes faster and changes nothing else: a filesystem finds room for each piece by
/// itself, ext4 while it locks the whole file. Where this is not to be had, or there is not room for all
/// of it, the writes will tell whether they need it.
pub(crate) fn reserve(file: &File, offset: u64, length: u64) {
    let is_regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if let (true, Ok(offset), Ok(length)) = (is_regular, offset.try_into(), length.try_into())
        && length > 0
    {
        // The file is no worse without.
        let _ = fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::FileExt;

    #[test]
    fn reserved_room_reads_as_before_and_the_size_stays() {
        let mut file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        file.set_len(1 << 20).unwrap();
        file.write_all_at(b"data", 8192).unwrap();
        for (offset, length) in [(0, 65536), (1 << 20, 4096), (5, 0), (u64::MAX, 1), (0, u64::MAX)]
        {
            reserve(&file, offset, length);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 1 << 20);
        assert_eq!(&bytes[8192..8196], b"data");
        assert_eq!(bytes.iter().filter(|&&byte| byte != 0).count(), 4);
    }
}
