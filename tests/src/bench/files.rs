//! What is on the disk: files below a folder, and whether two files are the same.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};

/// Calls `act` for each regular file at or below `path`. Symbolic links are not followed.
///
/// # Errors
/// When a folder cannot be read, or the first that `act` returns.
pub fn each_file(path: &Path, act: &mut dyn FnMut(&Path, &Metadata) -> Result<()>) -> Result<()> {
    let metadata = path.symlink_metadata().with_context(|| format!("no {}", path.display()))?;
    if metadata.is_file() {
        act(path, &metadata)?;
    } else if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            each_file(&entry?.path(), act)?;
        }
    }
    Ok(())
}

/// The lengths of all files at or below `path` together, in bytes.
///
/// # Errors
/// When a folder cannot be read.
pub fn total_bytes(path: &Path) -> Result<u64> {
    let mut total = 0;
    each_file(path, &mut |_, metadata| {
        total += metadata.len();
        Ok(())
    })?;
    Ok(total)
}

/// Whether two files hold the same bytes.
///
/// # Errors
/// When one cannot be read.
pub fn are_equal(one: &Path, other: &Path) -> Result<bool> {
    const PIECE_BYTES: usize = 1 << 20;
    let open = |path: &Path| {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let length = file.metadata()?.len();
        anyhow::Ok((file, length))
    };
    let ((mut one, length), (mut other, other_length)) = (open(one)?, open(other)?);
    if length != other_length {
        return Ok(false);
    }
    let (mut bytes, mut other_bytes) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    let mut left = length;
    while left > 0 {
        let piece = usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        one.read_exact(&mut bytes[..piece])?;
        other.read_exact(&mut other_bytes[..piece])?;
        if bytes[..piece] != other_bytes[..piece] {
            return Ok(false);
        }
        left -= piece as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_equal_only_if_every_byte_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let bytes = vec![7; (1 << 20) + 5];
        let one = file("one", &bytes);
        assert!(are_equal(&one, &file("same", &bytes)).unwrap());
        assert!(!are_equal(&one, &file("shorter", &bytes[1..])).unwrap());
        let mut last = bytes.clone();
        *last.last_mut().unwrap() = 8;
        assert!(!are_equal(&one, &file("last", &last)).unwrap());
    }

    #[test]
    fn lengths_are_added_through_folders() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("x"), [0; 10]).unwrap();
        fs::write(folder.path().join("a/b/y"), [0; 32]).unwrap();
        assert_eq!(total_bytes(folder.path()).unwrap(), 42);
    }
}
