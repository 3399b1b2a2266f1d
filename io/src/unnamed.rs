//! Files that have no name until they are whole, so that a crash leaves nothing.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::linkat;

/// Opens a new file of mode 0600 in `directory`, for reading and writing, that has no name and is
/// gone when it is closed. `None` where that cannot be had: a filesystem without O_TMPFILE (NFS,
/// some overlays), or a host without /proc, through which [`link_unnamed`] reaches it.
///
/// # Errors
/// What open(2) reports for other reasons.
pub fn create_unnamed(directory: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(OFlag::O_TMPFILE.bits());
    match options.open(directory) {
        Ok(file) if proc_path(&file).symlink_metadata().is_ok() => Ok(Some(file)),
        Err(error) if !lacks_tmpfile(&error) => Err(error),
        Ok(_) | Err(_) => Ok(None),
    }
}

/// Gives a file of [`create_unnamed`] its name, in one step and only if nothing has that name.
/// Neither the content nor the name is durable by that.
///
/// # Errors
/// `AlreadyExists`, or what linkat(2) reports.
pub fn link_unnamed(file: &File, name: &Path) -> io::Result<()> {
    let follow = AtFlags::AT_SYMLINK_FOLLOW;
    Ok(linkat(AT_FDCWD, &proc_path(file), AT_FDCWD, name, follow)?)
}

/// The way to an open file that open(2) names for linkat(2).
fn proc_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn lacks_tmpfile(error: &io::Error) -> bool {
    // EISDIR is what a kernel without O_TMPFILE says; EINVAL and EOPNOTSUPP filesystems without.
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    #[test]
    fn a_file_shows_when_it_is_linked_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let Some(mut file) = create_unnamed(folder.path()).unwrap() else { return };
        file.write_all(b"whole").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let name = folder.path().join("name");
        link_unnamed(&file, &name).unwrap();
        assert_eq!(fs::read(&name).unwrap(), b"whole");

        let other = create_unnamed(folder.path()).unwrap().unwrap();
        let error = link_unnamed(&other, &name).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&name).unwrap(), b"whole");
    }
}
