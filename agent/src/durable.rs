//! Small files that must survive a power cut, whole: written beside, made durable, then renamed.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use thinmover_io::crash_point;
use uuid::Uuid;

/// What the names of files begin with that are not finished; a reader of the folder skips or
/// removes them.
pub(crate) const UNFINISHED: char = '.';

/// Puts `content` in place of whatever is at `path`; its folder is made if it is missing.
///
/// # Errors
/// What the filesystem reports; `path` then holds what it held.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    let temporary = folder.join(format!("{UNFINISHED}{}", Uuid::new_v4()));
    crash_point("file:replace:before");
    let replaced = File::create_new(&temporary)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = replaced {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    File::open(folder)?.sync_all()?;
    crash_point("file:replace:after");
    Ok(())
}

/// Removes the file at `path`; one that is not there is no error.
///
/// # Errors
/// What the filesystem reports.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all()),
    }
}
