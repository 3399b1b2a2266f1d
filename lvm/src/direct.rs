//! Copy method `direct`: a block device that is no LVM volume, or an image file, given by its path.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thinmover_io::{create_unnamed, link_unnamed};

use crate::device::holders;
use crate::error::LvmError;
use crate::guard::Refusal;
use crate::mounts::{self, DeviceNumber};
use crate::units::Bytes;

/// A file or device open for reading.
#[derive(Debug)]
pub struct DirectSource {
    /// Open for reading.
    pub file: File,
    /// Its size now.
    pub size: Bytes,
    /// What it is, to tell whether a target is the same thing.
    pub identity: Identity,
}

/// What a path leads to, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A block device.
    Device(DeviceNumber),
    /// A file.
    File {
        /// The number of the filesystem it is in.
        device: DeviceNumber,
        /// Its number in that.
        inode: u64,
    },
}

/// A file or device open for writing. A file that was made for it gets its name when it is
/// [`finish`](Self::finish)ed; before, or after a crash, nothing of it shows.
#[derive(Debug)]
pub struct DirectTarget {
    file: File,
    size: Bytes,
    identity: Identity,
    new: Option<NewFile>,
}

/// A file that is not finished.
#[derive(Debug)]
struct NewFile {
    path: PathBuf,
    /// Whether it has its name already, where the filesystem cannot do without one.
    is_named: bool,
}

/// Opens the block device or regular file at `path` for reading.
///
/// # Errors
/// What the system reports, or a [`Refusal`] for anything else, a folder for example.
pub fn open_source(path: &Path) -> Result<DirectSource, LvmError> {
    // A FIFO would make open(2) wait for a writer.
    let file = File::options()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(|source| open_error(path, source))?;
    let identity = identify(&file, path)?;
    let size = size(&file, path)?;
    Ok(DirectSource { file, size, identity })
}

/// Opens `path` for writing: a block device that nothing uses, or a regular file. Where there is
/// nothing, a new sparse file of `size` is made.
///
/// # Errors
/// A [`Refusal`] where it is mounted, used by another device or claimed; otherwise what the system
/// reports.
pub fn open_target(path: &Path, size: Bytes) -> Result<DirectTarget, LvmError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.file_type().is_block_device() => open_device(path, &metadata),
        Ok(metadata) if metadata.is_file() => {
            let file = File::options()
                .read(true)
                .write(true)
                .open(path)
                .map_err(|source| open_error(path, source))?;
            DirectTarget::new(file, path, None)
        }
        Ok(_) => Err(wrong_kind(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.starts_with("/dev") => {
            let hint = ": no file is made under /dev".to_owned();
            Err(LvmError::NotFound { spec: path.display().to_string(), hint })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => create_file(path, size),
        Err(source) => Err(LvmError::io("look at", path, source)),
    }
}

fn open_device(path: &Path, metadata: &fs::Metadata) -> Result<DirectTarget, LvmError> {
    let number = DeviceNumber::from_raw(metadata.rdev());
    let volume = path.display().to_string();
    let mounts =
        mounts::read().map_err(|source| LvmError::io("read", "/proc/self/mountinfo", source))?;
    if let Some(mount) = mounts.into_iter().find(|mount| mount.device == number) {
        return Err(Refusal::Mounted { volume, path: mount.path }.into());
    }
    let holders = holders(number).map_err(|source| LvmError::io("look at", path, source))?;
    if let Some(holder) = holders.first() {
        return Err(Refusal::InUse { volume, why: format!("is below the device {holder}") }.into());
    }
    let file = File::options()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_EXCL)
        .open(path)
        .map_err(|source| open_error(path, source))?;
    let target = DirectTarget::new(file, path, None)?;
    if target.identity != Identity::Device(number) {
        let what = "it became another device while it was opened".to_owned();
        return Err(LvmError::Unexpected { volume, what });
    }
    Ok(target)
}

fn create_file(path: &Path, size: Bytes) -> Result<DirectTarget, LvmError> {
    let failed = |source| LvmError::io("create", path, source);
    let unnamed = create_unnamed(folder_of(path)).map_err(failed)?;
    let is_named = unnamed.is_none();
    let file = match unnamed {
        Some(file) => file,
        None => File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(failed)?,
    };
    let new = NewFile { path: path.to_owned(), is_named };
    let mut target = DirectTarget::new(file, path, Some(new))?;
    target.file.set_len(size.0).map_err(|source| LvmError::io("resize", path, source))?;
    target.size = size;
    Ok(target)
}

impl DirectTarget {
    fn new(file: File, path: &Path, new: Option<NewFile>) -> Result<Self, LvmError> {
        let identity = identify(&file, path)?;
        let size = size(&file, path)?;
        Ok(Self { file, size, identity, new })
    }

    /// Another handle on the open file or device.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn file(&self) -> Result<File, LvmError> {
        self.file.try_clone().map_err(|source| LvmError::io("open", PathBuf::new(), source))
    }

    /// Its size.
    pub fn size(&self) -> Bytes {
        self.size
    }

    /// What it is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether it was made for this, so that it holds nothing.
    pub fn is_new(&self) -> bool {
        self.new.is_some()
    }

    /// Keeps it, durably under its name.
    ///
    /// # Errors
    /// What fsync(2) of the file or its folder reports, or linkat(2): a file that has come to be at
    /// its path meanwhile is not replaced. A new file is then gone.
    pub fn finish(mut self) -> Result<(), LvmError> {
        let Some(new) = &self.new else {
            return self.file.sync_all().map_err(|e| LvmError::io("sync", PathBuf::new(), e));
        };
        self.file.sync_all().map_err(|source| LvmError::io("sync", &new.path, source))?;
        if !new.is_named {
            let named = link_unnamed(&self.file, &new.path);
            named.map_err(|source| LvmError::io("create", &new.path, source))?;
        }
        File::open(folder_of(&new.path))
            .and_then(|folder| folder.sync_all())
            .map_err(|source| LvmError::io("sync", &new.path, source))?;
        self.new = None;
        Ok(())
    }
}

impl Drop for DirectTarget {
    fn drop(&mut self) {
        // Only the file that was made: another may have its name by now.
        if let Some(NewFile { path, is_named: true }) = &self.new
            && let Ok(named) = fs::symlink_metadata(path)
            && let Ok(ours) = self.file.metadata()
            && (named.dev(), named.ino()) == (ours.dev(), ours.ino())
        {
            let _ = fs::remove_file(path);
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn identify(file: &File, path: &Path) -> Result<Identity, LvmError> {
    let metadata = file.metadata().map_err(|source| LvmError::io("look at", path, source))?;
    if metadata.file_type().is_block_device() {
        Ok(Identity::Device(DeviceNumber::from_raw(metadata.rdev())))
    } else if metadata.is_file() {
        let device = DeviceNumber::from_raw(metadata.dev());
        Ok(Identity::File { device, inode: metadata.ino() })
    } else {
        Err(wrong_kind(path))
    }
}

fn size(file: &File, path: &Path) -> Result<Bytes, LvmError> {
    thinmover_io::size_bytes(file).map(Bytes).map_err(|e| LvmError::io("measure", path, e))
}

fn wrong_kind(path: &Path) -> LvmError {
    let volume = path.display().to_string();
    Refusal::Kind { volume, why: "is neither a block device nor a regular file" }.into()
}

fn open_error(path: &Path, source: io::Error) -> LvmError {
    match source.raw_os_error() {
        Some(nix::libc::EBUSY) => {
            let why = "is in use: mounted, or held by another device".to_owned();
            Refusal::InUse { volume: path.display().to_string(), why }.into()
        }
        Some(nix::libc::ENOENT) => {
            LvmError::NotFound { spec: path.display().to_string(), hint: String::new() }
        }
        _ => LvmError::io("open", path, source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_file_is_a_source_with_its_size_and_the_same_identity_under_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("image"), folder.path().join("link"));
        fs::write(&path, [1; 5000]).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let source = open_source(&path).unwrap();
        assert_eq!(source.size, Bytes(5000));
        assert_eq!(open_target(&link, Bytes(0)).unwrap().identity(), source.identity);
        let copy = folder.path().join("copy");
        fs::copy(&path, &copy).unwrap();
        assert_ne!(open_source(&copy).unwrap().identity, source.identity);
    }

    #[test]
    fn folders_pipes_and_character_devices_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [folder.path(), &pipe, Path::new("/dev/null")] {
            let kinds = [
                open_source(path).unwrap_err().kind(),
                open_target(path, Bytes(1)).unwrap_err().kind(),
            ];
            assert_eq!(kinds, [ErrorKind::Refused; 2], "{}", path.display());
        }
    }

    #[test]
    fn a_missing_source_is_not_found() {
        let error = open_source(Path::new("/no/such/image")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_new_file_shows_only_when_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let target = open_target(&path, Bytes(1 << 20)).unwrap();
        assert!(target.is_new());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        drop(target);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        open_target(&path, Bytes(1 << 20)).unwrap().finish().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20);
    }

    #[test]
    fn an_existing_file_is_neither_resized_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        fs::write(&path, [1; 100]).unwrap();
        let target = open_target(&path, Bytes(1 << 20)).unwrap();
        assert_eq!((target.is_new(), target.size()), (false, Bytes(100)));
        target.file().unwrap().write_all_at(&[2], 0).unwrap();
        drop(target);
        assert_eq!(fs::read(&path).unwrap().len(), 100);
    }

    #[test]
    fn what_came_to_be_at_the_path_meanwhile_is_neither_replaced_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let targets =
            [open_target(&path, Bytes(10)).unwrap(), open_target(&path, Bytes(10)).unwrap()];
        fs::write(&path, "someone else's").unwrap();
        let [finished, dropped] = targets;
        finished.finish().unwrap_err();
        drop(dropped);
        assert_eq!(fs::read(&path).unwrap(), b"someone else's");
    }

    #[test]
    fn nothing_is_made_under_dev() {
        let error = open_target(Path::new("/dev/mistyped"), Bytes(10)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
