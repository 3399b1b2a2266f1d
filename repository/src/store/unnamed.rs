//! A file that has no name until it is whole and durable, so that a crash leaves nothing.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use thinmover_io::{create_unnamed, link_unnamed};

use super::Creation;
use crate::crypto::random;

const TEMPORARY_PREFIX: &str = ".tmp-";

/// A writer touches its file far more often than this; what is older belongs to a dead process.
const TEMPORARY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A file in `directory`, open for writing, that nobody else sees as an object.
#[derive(Debug)]
pub(super) struct UnnamedFile {
    file: File,
    directory: PathBuf,
    /// Set where the filesystem cannot do without a name; removed on drop.
    temporary: Option<PathBuf>,
}

impl UnnamedFile {
    pub(super) fn create(directory: &Path) -> io::Result<Self> {
        match create_unnamed(directory)? {
            Some(file) => Ok(Self { file, directory: directory.to_owned(), temporary: None }),
            None => Self::create_named(directory),
        }
    }

    /// Where there are no unnamed files.
    pub(super) fn create_named(directory: &Path) -> io::Result<Self> {
        remove_stale(directory)?;
        let suffix: [u8; 16] = random().map_err(io::Error::other)?;
        let path = directory.join(format!("{TEMPORARY_PREFIX}{}", hex::encode(suffix)));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { file, directory: directory.to_owned(), temporary: Some(path) })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Makes the file durable, then visible as `name`, then the name durable.
    pub(super) fn publish(self, name: &str) -> io::Result<Creation> {
        self.file.sync_all()?;
        let target = self.directory.join(name);
        let linked = match &self.temporary {
            Some(temporary) => fs::hard_link(temporary, &target),
            None => link_unnamed(&self.file, &target),
        };
        let creation = match linked {
            Ok(()) => Creation::Created,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Creation::AlreadyExists,
            Err(error) => return Err(error),
        };
        // Also when it was there: whoever made it may not have come this far yet.
        sync_directory(&self.directory)?;
        Ok(creation)
    }
}

impl Drop for UnnamedFile {
    fn drop(&mut self) {
        if let Some(path) = &self.temporary {
            // What cannot be removed now is swept as stale later.
            let _ = fs::remove_file(path);
        }
    }
}

/// Makes the entries of a directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn remove_stale(directory: &Path) -> io::Result<()> {
    let now = SystemTime::now();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes()) {
            continue;
        }
        // Another writer may finish or sweep it at the same time: gone is as good.
        let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) else {
            continue;
        };
        if now.duration_since(modified).is_ok_and(|age| age > TEMPORARY_LIFETIME) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    type Create = fn(&Path) -> io::Result<UnnamedFile>;
    const WAYS: [Create; 2] = [UnnamedFile::create, UnnamedFile::create_named];

    #[test]
    fn a_published_file_has_one_name_and_is_private() {
        for create in WAYS {
            let dir = tempfile::tempdir().unwrap();
            let unnamed = create(dir.path()).unwrap();
            unnamed.file().write_all(b"whole").unwrap();
            assert_eq!(unnamed.publish("a").unwrap(), Creation::Created);
            assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"whole");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
            let mode = fs::metadata(dir.path().join("a")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_name_that_exists_is_kept() {
        for create in WAYS {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("a"), b"first").unwrap();
            let unnamed = create(dir.path()).unwrap();
            unnamed.file().write_all(b"second").unwrap();
            assert_eq!(unnamed.publish("a").unwrap(), Creation::AlreadyExists);
            assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"first");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_dropped_file_leaves_nothing() {
        for create in WAYS {
            let dir = tempfile::tempdir().unwrap();
            drop(create(dir.path()).unwrap());
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn only_old_temporary_files_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        for (name, days) in [(".tmp-old", 3), (".tmp-new", 0), ("object", 3)] {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(days * 86400)).unwrap();
        }
        remove_stale(dir.path()).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".tmp-new", "object"]);
    }
}
