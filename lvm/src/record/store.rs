//! Records on disk: written durably, locked by the living, read with suspicion.
//!
//! # The lock
//! A record is replaced by rename, and a flock(2) belongs to the file, not to its name: a lock on
//! `NONCE.json` itself would be lost with the first update. So each record has a second file,
//! `NONCE.lock`, that is never renamed and holds nothing. Its rules:
//!
//! 1. Whoever locks `NONCE.lock` checks afterwards that the name still leads to the locked file,
//!    and starts again if not. So there is at most one holder at any time, also while lock files
//!    of the gone are being cleaned away.
//! 2. Only the holder reads `NONCE.json` in order to act on it, writes it, or removes either file;
//!    it removes the lock file last. What the holder has read stays true until it lets go.
//! 3. The kernel lets go when the process dies, by whatever death. The descriptor is closed on
//!    exec, so no child keeps it.
//!
//! A maker takes the lock before the record appears, so a record is never seen unlocked while its
//! maker lives.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use thinmover_io::crash_point;

use super::{Body, Nonce, Record, VERSION};

/// More than any record needs; a larger file is none.
const RECORD_LIMIT_BYTES: u64 = 64 << 10;
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Why records could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The system refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What it reported.
        source: io::Error,
    },
    /// Another process is at work under that record.
    #[error("record {nonce} is in use by another thinmover process")]
    Busy {
        /// Which.
        nonce: Nonce,
    },
    /// It cannot be acted on; see [`RecordProblem`].
    #[error("{0}")]
    Problem(RecordProblem),
}

/// A record that is left as it is, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordProblem {
    /// A newer version of thinmover wrote it.
    #[error("{}: it has version {version}, this program knows {VERSION}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u64,
    },
    /// It is damaged, or not a record.
    #[error("{}: it cannot be read: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl RecordProblem {
    /// Whether a newer version of thinmover wrote the record.
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Newer { .. })
    }
}

/// The folder of records.
#[derive(Clone, Debug)]
pub(crate) struct RecordStore {
    folder: PathBuf,
}

/// What [`RecordStore::scan`] found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Records whose process is gone, now locked by us.
    pub(crate) abandoned: Vec<HeldRecord>,
    /// Records of living processes.
    pub(crate) in_use: Vec<Nonce>,
    /// Files that are left alone.
    pub(crate) problems: Vec<RecordProblem>,
}

/// A record under our lock. Dropping it lets go and leaves the record.
#[derive(Debug)]
pub(crate) struct HeldRecord {
    store: RecordStore,
    record: Record,
    _lock: File,
}

impl RecordStore {
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("records") }
    }

    /// Writes a new record of `body` and holds it.
    pub(crate) fn create(
        &self,
        nonce: Nonce,
        boot_id: &str,
        body: Body,
    ) -> Result<HeldRecord, RecordError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|source| self.io("create", &self.folder, source))?;
        let lock = self.lock(&nonce)?.ok_or_else(|| RecordError::Busy { nonce: nonce.clone() })?;
        let created_at = Timestamp::now();
        let boot_id = boot_id.to_owned();
        let record = Record { version: VERSION, nonce, created_at, boot_id, body };
        self.write(&record)?;
        Ok(HeldRecord { store: self.clone(), record, _lock: lock })
    }

    /// All readable records as they are at this moment, locked or not; for looking only.
    pub(crate) fn read_all(&self) -> Result<(Vec<Record>, Vec<RecordProblem>), RecordError> {
        let (mut records, mut problems) = (Vec::new(), Vec::new());
        for nonce in self.nonces(".json")? {
            match self.read(&nonce)? {
                Ok(Some(record)) => records.push(record),
                Ok(None) => {}
                Err(problem) => problems.push(problem),
            }
        }
        Ok((records, problems))
    }

    /// Locks every record that no living process holds.
    pub(crate) fn scan(&self) -> Result<Scan, RecordError> {
        let mut scan = Scan::default();
        for nonce in self.nonces(".json")? {
            match self.try_hold(&nonce) {
                Ok(Some(held)) => scan.abandoned.push(held),
                Ok(None) => {}
                Err(RecordError::Busy { nonce }) => scan.in_use.push(nonce),
                Err(RecordError::Problem(problem)) => scan.problems.push(problem),
                Err(error) => return Err(error),
            }
        }
        self.sweep()?;
        Ok(scan)
    }

    /// Locks the record `nonce`, waiting up to `limit` for another holder.
    pub(crate) fn hold(&self, nonce: &Nonce, limit: Duration) -> Result<HeldRecord, RecordError> {
        let deadline = Instant::now() + limit;
        loop {
            match self.try_hold(nonce) {
                Ok(Some(held)) => return Ok(held),
                Ok(None) => {
                    let source = io::ErrorKind::NotFound.into();
                    return Err(self.io("read", &self.path(nonce, ".json"), source));
                }
                Err(RecordError::Busy { .. }) if Instant::now() < deadline => {
                    thread::sleep(POLL_INTERVAL);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// `Ok(None)` when the record is gone, or went while its lock was waited for.
    fn try_hold(&self, nonce: &Nonce) -> Result<Option<HeldRecord>, RecordError> {
        let lock = self.lock(nonce)?.ok_or_else(|| RecordError::Busy { nonce: nonce.clone() })?;
        // What a death in the middle of an update left.
        self.remove_file(nonce, ".tmp")?;
        match self.read(nonce)? {
            Ok(Some(record)) => Ok(Some(HeldRecord { store: self.clone(), record, _lock: lock })),
            Ok(None) => self.remove_file(nonce, ".lock").map(|()| None),
            Err(problem) => Err(RecordError::Problem(problem)),
        }
    }

    /// Removes lock and temporary files that a death between two steps left without a record.
    fn sweep(&self) -> Result<(), RecordError> {
        for suffix in [".lock", ".tmp"] {
            for nonce in self.nonces(suffix)? {
                let Some(_lock) = self.lock(&nonce)? else { continue };
                self.remove_file(&nonce, ".tmp")?;
                if !self.path(&nonce, ".json").exists() {
                    self.remove_file(&nonce, ".lock")?;
                }
            }
        }
        Ok(())
    }

    /// The lock of `nonce`, or `None` while another holds it. See the module's rule 1.
    fn lock(&self, nonce: &Nonce) -> Result<Option<File>, RecordError> {
        let path = self.path(nonce, ".lock");
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        loop {
            let file = options.open(&path).map_err(|source| self.io("open", &path, source))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(source)) => return Err(self.io("lock", &path, source)),
            }
            if is_named(&path, &file).map_err(|source| self.io("stat", &path, source))? {
                return Ok(Some(file));
            }
        }
    }

    fn read(&self, nonce: &Nonce) -> Result<Result<Option<Record>, RecordProblem>, RecordError> {
        let path = self.path(nonce, ".json");
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(file) => file.take(RECORD_LIMIT_BYTES + 1).read_to_end(&mut bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(None)),
            Err(error) => Err(error),
        }
        .map_err(|source| self.io("read", &path, source))?;
        Ok(parse(&path, nonce, &bytes).map(Some))
    }

    /// Replaces the record: after a power cut there is the old one or the new one.
    fn write(&self, record: &Record) -> Result<(), RecordError> {
        let (path, temporary) =
            (self.path(&record.nonce, ".json"), self.path(&record.nonce, ".tmp"));
        crash_point("record:write:before");
        let write = || -> io::Result<()> {
            let mut bytes = serde_json::to_vec(record)?;
            bytes.push(b'\n');
            let mut options = File::options();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            crash_point("record:rename:before");
            fs::rename(&temporary, &path)
        };
        write().map_err(|source| self.io("write", &path, source))?;
        self.sync_folder()?;
        crash_point("record:write:after");
        Ok(())
    }

    fn remove_file(&self, nonce: &Nonce, suffix: &str) -> Result<(), RecordError> {
        let path = self.path(nonce, suffix);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(self.io("remove", &path, source))
            }
            _ => Ok(()),
        }
    }

    fn sync_folder(&self) -> Result<(), RecordError> {
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| self.io("sync", &self.folder, source))
    }

    /// The nonces of all files that end in `suffix`, sorted.
    fn nonces(&self, suffix: &str) -> Result<Vec<Nonce>, RecordError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.io("list", &self.folder, source)),
        };
        let mut nonces = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| self.io("list", &self.folder, source))?;
            let name = entry.file_name();
            nonces.extend(
                name.to_str().and_then(|name| name.strip_suffix(suffix)).and_then(Nonce::parse),
            );
        }
        nonces.sort();
        Ok(nonces)
    }

    fn path(&self, nonce: &Nonce, suffix: &str) -> PathBuf {
        self.folder.join(format!("{nonce}{suffix}"))
    }

    fn io(&self, action: &'static str, path: &Path, source: io::Error) -> RecordError {
        RecordError::Io { action, path: path.to_owned(), source }
    }
}

/// Whether `path` leads to the open `file`, and not to nothing or to another that was made since.
fn is_named(path: &Path, file: &File) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads a record's bytes. The version is looked at before anything else is understood.
fn parse(path: &Path, nonce: &Nonce, bytes: &[u8]) -> Result<Record, RecordProblem> {
    let unreadable = |why: String| RecordProblem::Unreadable { path: path.to_owned(), why };
    if bytes.len() as u64 > RECORD_LIMIT_BYTES {
        return Err(unreadable("it is larger than 64 KiB".into()));
    }
    let value: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(version) if version > u64::from(VERSION) => {
            return Err(RecordProblem::Newer { path: path.to_owned(), version });
        }
        Some(version) if version == u64::from(VERSION) => {}
        _ => return Err(unreadable("it has no known version".into())),
    }
    let record: Record =
        serde_json::from_value(value).map_err(|error| unreadable(error.to_string()))?;
    if record.nonce != *nonce {
        return Err(unreadable(format!("it is the record {}", record.nonce)));
    }
    Ok(record)
}

impl HeldRecord {
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    pub(crate) fn nonce(&self) -> &Nonce {
        &self.record.nonce
    }

    /// Changes the body durably.
    pub(crate) fn update(&mut self, body: Body) -> Result<(), RecordError> {
        let record = Record { body, ..self.record.clone() };
        self.store.write(&record)?;
        self.record = record;
        Ok(())
    }

    /// Removes the record: there is nothing left to put back.
    pub(crate) fn remove(self) -> Result<(), RecordError> {
        crash_point("record:remove:before");
        self.store.remove_file(&self.record.nonce, ".json")?;
        self.store.sync_folder()?;
        self.store.remove_file(&self.record.nonce, ".lock")?;
        crash_point("record:remove:after");
        Ok(())
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
