//! Ranges of objects. Large ones are read past the page cache where the filesystem allows it: a
//! restore reads each pack once, and reading it through the cache costs more than the disk does.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use thinmover_io::{ALIGNMENT, set_direct};

use super::RangeBuffer;

/// Shorter ranges (footers, tree nodes) lie close together and are worth caching.
const DIRECT_BYTES_MIN: usize = 256 << 10;

/// Reads `length` bytes from `start`. Nobody else uses the file meanwhile: its flags are changed and
/// put back.
pub(super) fn read_range(
    file: &File,
    start: u64,
    length: usize,
    out: &mut RangeBuffer,
) -> io::Result<()> {
    if length >= DIRECT_BYTES_MIN && set_direct(file, true).is_ok() {
        let read = read_direct(file, start, length, out);
        let buffered = set_direct(file, false);
        match read {
            // What it takes is not the same everywhere; the cache takes anything.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => buffered?,
            read => return read,
        }
    }
    file.read_exact_at(out.room(length), start)
}

/// Reads the whole units around the range.
fn read_direct(file: &File, start: u64, length: usize, out: &mut RangeBuffer) -> io::Result<()> {
    let units = out.units(start, length);
    let skip = start % ALIGNMENT as u64;
    let first = start - skip;
    let wanted = usize::try_from(skip).unwrap_or_default() + length;
    let mut reached = 0;
    while reached < wanted {
        // A short read may end anywhere; the next one begins at a unit again.
        let from = reached - reached % ALIGNMENT;
        let end = from + file.read_at(&mut units[from..], first + from as u64)?;
        if end <= reached {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        reached = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn any_range_is_read_exactly() {
        let mut file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let bytes: Vec<u8> =
            (0..3_000_001_usize).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        file.write_all(&bytes).unwrap();
        let mut out = RangeBuffer::default();
        for start in [0, 1, 4095, 4096, 1 << 20, 2_000_000] {
            for length in [0, 1, 300_000, 1 << 20, (1 << 20) + 1, 1_000_001] {
                if start + length > bytes.len() {
                    continue;
                }
                for read in [read_range, read_direct] {
                    out.room(length).fill(0xee);
                    read(&file, start as u64, length, &mut out).unwrap();
                    assert!(*out == bytes[start..start + length], "{start} {length}");
                }
            }
        }
        let error = read_range(&file, 2_700_000, 400_000, &mut out).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
