//! A store in a directory: one file for each object (FORMAT.md, section 3).

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use thinmover_io::IoEngine;

use super::error::kind_of;
use super::key::{is_valid_key, is_valid_prefix};
use super::ranges::read_range;
use super::stream::StreamWriter;
use super::unnamed::{UnnamedFile, sync_directory};
use super::{
    Creation, ListEntry, ObjectWriter, RangeBuffer, Store, StoreError, StoreErrorKind, StoreResult,
};

/// Objects as files below one directory, which is made at the first create.
#[derive(Debug)]
pub struct DirectoryStore {
    root: PathBuf,
    io: IoEngine,
    /// Directories whose own entry is known to be durable. A handful for each domain.
    durable: Mutex<HashSet<PathBuf>>,
}

impl DirectoryStore {
    /// A store below `root`, an absolute path whose parent exists. Touches nothing. Large
    /// objects are written by `io`.
    pub fn new(root: PathBuf, io: IoEngine) -> Self {
        Self { root, io, durable: Mutex::default() }
    }

    fn path(&self, action: &'static str, key: &str) -> StoreResult<PathBuf> {
        if is_valid_key(key) {
            Ok(self.root.join(key))
        } else {
            Err(self.error(StoreErrorKind::InvalidKey, action, key))
        }
    }

    fn folder(&self, prefix: &str) -> StoreResult<PathBuf> {
        if is_valid_prefix(prefix) {
            Ok(self.root.join(prefix))
        } else {
            Err(self.error(StoreErrorKind::InvalidKey, "list", prefix))
        }
    }

    fn error(&self, kind: StoreErrorKind, action: &'static str, key: &str) -> StoreError {
        StoreError { kind, action, key: key.to_owned(), place: self.url(), cause: None }
    }

    fn io<'a>(
        &'a self,
        action: &'static str,
        key: &'a str,
    ) -> impl Fn(io::Error) -> StoreError + 'a {
        move |cause| io_error(&self.root, action, key, cause)
    }

    /// An unnamed file in the directory that `key` belongs to, and the name it will get.
    fn begin<'k>(&self, key: &'k str) -> StoreResult<(UnnamedFile, &'k str)> {
        let path = self.path("create", key)?;
        let name = key.rsplit('/').next().unwrap_or(key);
        let begin = || {
            let directory = path.parent().unwrap_or(&self.root);
            self.ensure_directory(directory)?;
            UnnamedFile::create(directory)
        };
        begin().map(|file| (file, name)).map_err(self.io("create", key))
    }

    /// Makes `directory` and those above it up to the root, and their entries durable. An existing
    /// directory's entry is synced too: another process may have made it a moment ago.
    fn ensure_directory(&self, directory: &Path) -> io::Result<()> {
        if self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(directory) {
            return Ok(());
        }
        let parent = directory.parent().unwrap_or(directory);
        let is_root = directory == self.root;
        if !is_root {
            self.ensure_directory(parent)?;
        }
        let made = match DirBuilder::new().mode(0o700).create(directory) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error),
        };
        match sync_directory(parent) {
            // An administrator may have made the root in a directory that this user cannot open.
            Err(error) if is_root && !made && error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        durable.insert(directory.to_owned());
        Ok(())
    }
}

impl Store for DirectoryStore {
    fn url(&self) -> String {
        format!("file://{}", self.root.display())
    }

    fn get(&self, key: &str, max_bytes: u64) -> StoreResult<Vec<u8>> {
        let path = self.path("read", key)?;
        let file = File::open(path).map_err(self.io("read", key))?;
        let length = file.metadata().map_err(self.io("read", key))?.len();
        let mut bytes = Vec::new();
        if length <= max_bytes {
            let limit = max_bytes.saturating_add(1);
            file.take(limit).read_to_end(&mut bytes).map_err(self.io("read", key))?;
        }
        if length.max(bytes.len() as u64) > max_bytes {
            return Err(self.error(StoreErrorKind::TooLarge, "read", key));
        }
        Ok(bytes)
    }

    fn get_range(&self, key: &str, range: Range<u64>, out: &mut RangeBuffer) -> StoreResult<()> {
        let path = self.path("read", key)?;
        let file = File::open(path).map_err(self.io("read", key))?;
        let size = file.metadata().map_err(self.io("read", key))?.len();
        let length = range.end.checked_sub(range.start).and_then(|n| usize::try_from(n).ok());
        let Some(length) = length.filter(|_| range.end <= size) else {
            return Err(self.error(StoreErrorKind::TooShort, "read", key));
        };
        read_range(&file, range.start, length, out).map_err(self.io("read", key))
    }

    fn size(&self, key: &str) -> StoreResult<u64> {
        let path = self.path("read", key)?;
        let metadata = fs::metadata(path).map_err(self.io("read", key))?;
        if metadata.is_file() {
            Ok(metadata.len())
        } else {
            Err(self.error(StoreErrorKind::NotFound, "read", key))
        }
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ListEntry) -> ControlFlow<()>,
    ) -> StoreResult<()> {
        let folder = self.folder(prefix)?;
        walk(&folder, prefix, visit).map(drop).map_err(self.io("list", prefix))
    }

    fn list_folders(&self, prefix: &str) -> StoreResult<Vec<String>> {
        let folder = self.folder(prefix)?;
        let mut folders = Vec::new();
        let mut read = || {
            for entry in read_dir(&folder)? {
                let entry = entry?;
                if let Some(name) = visible_name(&entry)
                    && entry.file_type()?.is_dir()
                {
                    folders.push(name);
                }
            }
            Ok(())
        };
        read().map_err(self.io("list", prefix))?;
        Ok(folders)
    }

    fn create(&self, key: &str, bytes: &[u8]) -> StoreResult<Creation> {
        let (unnamed, name) = self.begin(key)?;
        unnamed.file().write_all(bytes).map_err(self.io("create", key))?;
        unnamed.publish(name).map_err(self.io("create", key))
    }

    fn writer(&self, key: &str, expected_bytes: u64) -> StoreResult<Box<dyn ObjectWriter>> {
        let (unnamed, name) = self.begin(key)?;
        let stream =
            StreamWriter::new(unnamed, &self.io, expected_bytes).map_err(self.io("create", key))?;
        Ok(Box::new(DirectoryWriter {
            root: self.root.clone(),
            key: key.to_owned(),
            name: name.to_owned(),
            stream,
        }))
    }

    fn delete(&self, key: &str) -> StoreResult<()> {
        let path = self.path("delete", key)?;
        fs::remove_file(&path)
            .and_then(|()| sync_directory(path.parent().unwrap_or(&self.root)))
            .map_err(self.io("delete", key))
    }

    fn has_conditional_writes(&self) -> bool {
        true
    }
}

struct DirectoryWriter {
    root: PathBuf,
    key: String,
    name: String,
    stream: StreamWriter,
}

impl ObjectWriter for DirectoryWriter {
    fn append(&mut self, bytes: &[u8]) -> StoreResult<()> {
        self.stream.append(bytes).map_err(|cause| io_error(&self.root, "write", &self.key, cause))
    }

    fn finish(self: Box<Self>) -> StoreResult<Creation> {
        self.stream
            .finish()
            .and_then(|unnamed| unnamed.publish(&self.name))
            .map_err(|cause| io_error(&self.root, "write", &self.key, cause))
    }
}

fn io_error(root: &Path, action: &'static str, key: &str, cause: io::Error) -> StoreError {
    StoreError {
        kind: kind_of(&cause),
        action,
        key: key.to_owned(),
        place: format!("file://{}", root.display()),
        cause: Some(cause),
    }
}

/// Visits the files below `folder`, whose keys begin with `prefix`.
fn walk(
    folder: &Path,
    prefix: &str,
    visit: &mut dyn FnMut(ListEntry) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    for entry in read_dir(folder)? {
        let entry = entry?;
        let Some(name) = visible_name(&entry) else { continue };
        let key = format!("{prefix}{name}");
        let flow = if entry.file_type()?.is_dir() {
            walk(&entry.path(), &format!("{key}/"), visit)?
        } else {
            match entry.metadata() {
                Ok(metadata) => visit(ListEntry { key, size_bytes: metadata.len() }),
                // Deleted while listing.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            }
        };
        if flow.is_break() {
            return Ok(flow);
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// The entries of a folder, none if it does not exist.
fn read_dir(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(error),
    }
}

fn visible_name(entry: &fs::DirEntry) -> Option<String> {
    let name = entry.file_name().to_string_lossy().into_owned();
    (!name.starts_with('.')).then_some(name)
}
