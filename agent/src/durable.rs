//! Small files that must survive a power cut, whole: written beside, made durable, then renamed.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use thinmover_io::crash_point;
use uuid::Uuid;

/// Jobs, in the state directory.
pub(crate) const JOBS: &str = "jobs";
/// Which snapshot an id of a caller stands for.
pub(crate) const SNAPSHOTS: &str = "snapshots";
/// The last backup of each volume.
pub(crate) const LAST_BACKUPS: &str = "last-backups";

/// What the names of files begin with that are not finished; a reader of the folder skips them.
pub(crate) const UNFINISHED: char = '.';

/// Puts `content` in place of whatever is at `path`; its folder is made if it is missing.
///
/// # Errors
/// What the filesystem reports; `path` then holds what it held.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    // Who writes here shares the folder; the sweep wants it alone.
    let folder_file = lock(folder, FlockArg::LockShared)?;
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
    folder_file.sync_all()?;
    crash_point("file:replace:after");
    Ok(())
}

/// Removes what processes left in the folders of `state_dir` that died while they replaced a file. A
/// folder in which somebody is writing waits for another time.
///
/// # Errors
/// What the filesystem reports of the first folder that cannot be swept.
pub(crate) fn sweep(state_dir: &Path) -> io::Result<()> {
    for folder in [JOBS, SNAPSHOTS, LAST_BACKUPS].map(|name| state_dir.join(name)) {
        let _lock = match lock(&folder, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err(error) if [ErrorKind::NotFound, ErrorKind::WouldBlock].contains(&error.kind()) => {
                continue;
            }
            Err(error) => return Err(error),
        };
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(is_unfinished) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

/// Whether a name is one that [`replace`] gives to what it has not finished.
fn is_unfinished(name: &str) -> bool {
    let uuid = name.strip_prefix(UNFINISHED).and_then(|rest| Uuid::try_parse(rest).ok());
    uuid.is_some_and(|uuid| name[1..] == uuid.hyphenated().to_string())
}

fn lock(folder: &Path, how: FlockArg) -> io::Result<Flock<File>> {
    Flock::lock(File::open(folder)?, how).map_err(|(_, errno)| errno.into())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_finished_is_swept_and_nothing_else() {
        let state = tempfile::tempdir().unwrap();
        sweep(state.path()).unwrap();
        let kept = [".half", ".profile", "a.json", ".00000000000000000000000000000000"];
        for folder in [JOBS, SNAPSHOTS, LAST_BACKUPS].map(|name| state.path().join(name)) {
            replace(&folder.join("a.json"), b"{}").unwrap();
            for name in kept.map(str::to_owned).into_iter().chain([format!(".{}", Uuid::new_v4())])
            {
                fs::write(folder.join(name), "{").unwrap();
            }
        }
        sweep(state.path()).unwrap();
        for folder in [JOBS, SNAPSHOTS, LAST_BACKUPS].map(|name| state.path().join(name)) {
            let left = fs::read_dir(folder).unwrap();
            let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
            left.sort();
            let mut kept = kept;
            kept.sort_unstable();
            assert_eq!(left, kept);
        }
    }

    #[test]
    fn a_folder_in_which_somebody_writes_is_not_swept() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join(LAST_BACKUPS);
        let unfinished = folder.join(format!(".{}", Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        fs::write(&unfinished, "{").unwrap();
        let writer = lock(&folder, FlockArg::LockShared).unwrap();
        sweep(state.path()).unwrap();
        assert!(unfinished.exists());
        drop(writer);
        sweep(state.path()).unwrap();
        assert!(!unfinished.exists());
    }
}
