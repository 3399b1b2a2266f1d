//! Ranges of objects. Large ones are read past the page cache where the filesystem allows it: a
//! restore reads each pack once, and reading it through the cache costs more than the disk does.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use thinmover_io::{ALIGNMENT, AlignedBuffer, set_direct};

/// Shorter ranges (footers, tree nodes) lie close together and are worth caching.
const DIRECT_BYTES_MIN: usize = 256 << 10;
/// One read request.
const STAGING_BYTES: usize = 1 << 20;

/// Fills `out` from `start`. Nobody else uses the file meanwhile: its flags are changed and put
/// back.
pub(super) fn read_range(file: &File, start: u64, out: &mut [u8]) -> io::Result<()> {
    if out.len() >= DIRECT_BYTES_MIN && set_direct(file, true).is_ok() {
        let read = read_direct(file, start, out);
        let buffered = set_direct(file, false);
        match read {
            // What it takes is not the same everywhere; the cache takes anything.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => buffered?,
            read => return read,
        }
    }
    file.read_exact_at(out, start)
}

/// Reads whole units around the range and copies what was asked for.
fn read_direct(file: &File, start: u64, mut out: &mut [u8]) -> io::Result<()> {
    let mut staging = AlignedBuffer::new(STAGING_BYTES);
    let mut at = start - start % ALIGNMENT as u64;
    let mut skip = usize::try_from(start - at).unwrap_or_default();
    while !out.is_empty() {
        let wanted = (skip + out.len()).next_multiple_of(ALIGNMENT).min(STAGING_BYTES);
        let length = file.read_at(&mut staging[..wanted], at)?;
        let usable = length.saturating_sub(skip).min(out.len());
        if usable == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (now, later) = out.split_at_mut(usable);
        now.copy_from_slice(&staging[skip..skip + usable]);
        out = later;
        // A short read may end anywhere; the next one begins at a unit again.
        let end = at + (skip + usable) as u64;
        at = end - end % ALIGNMENT as u64;
        skip = usize::try_from(end - at).unwrap_or_default();
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
        for start in [0, 1, 4095, 4096, 1 << 20, 2_000_000] {
            for length in [0, 1, 300_000, 1 << 20, (1 << 20) + 1, 1_000_001] {
                if start + length > bytes.len() {
                    continue;
                }
                let mut out = vec![0xee; length];
                read_range(&file, start as u64, &mut out).unwrap();
                assert!(out == bytes[start..start + length], "{start} {length}");
                let mut out = vec![0xee; length];
                read_direct(&file, start as u64, &mut out).unwrap();
                assert!(out == bytes[start..start + length], "direct {start} {length}");
            }
        }
        let mut out = vec![0; 400_000];
        let error = read_range(&file, 2_700_000, &mut out).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
