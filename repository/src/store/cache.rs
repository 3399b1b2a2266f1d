//! Small objects that never change, kept in a folder of this host: what is there is not asked for again.
//! Everything in it may be deleted at any time, by anybody.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use nix::fcntl::OFlag;

/// An entry that is used is marked so at most this often.
const TOUCH_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Left behind by a process that died while it wrote.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);
const TEMPORARY: &str = ".tmp-";

/// Entries under names, of about so many bytes in all; those that were not used for the longest time go
/// first. Several processes may share a folder. Whoever reads an entry must prove it: it may be torn.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    bytes_max: u64,
    /// What is in the folder, as far as this process knows; `None` before it has looked.
    bytes: Mutex<Option<u64>>,
}

struct Held {
    path: PathBuf,
    bytes: u64,
    used_at: SystemTime,
}

impl Cache {
    /// The cache in `folder`, which is made when something is put in, of at most `bytes_max`.
    pub fn new(folder: PathBuf, bytes_max: u64) -> Self {
        Self { folder, bytes_max, bytes: Mutex::new(None) }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Vec<u8>> {
        if self.bytes_max == 0 {
            return None;
        }
        let path = self.path(name);
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = File::options().read(true).custom_flags(flags.bits()).open(&path).ok()?;
        let is_possible = |about: &fs::Metadata| about.is_file() && about.len() <= self.entry_max();
        let about = file.metadata().ok().filter(is_possible)?;
        let mut bytes = Vec::new();
        (&file).take(self.entry_max()).read_to_end(&mut bytes).ok()?;
        let now = SystemTime::now();
        let is_old = |at: SystemTime| now.duration_since(at).is_ok_and(|age| age > TOUCH_INTERVAL);
        if about.modified().is_ok_and(is_old) {
            // One that cannot be marked goes sooner.
            let _ = file.set_modified(now);
        }
        Some(bytes)
    }

    /// Keeps an entry. What fails costs a request later.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let _ = self.write(name, bytes);
    }

    pub(crate) fn forget(&self, name: &str) {
        let _ = fs::remove_file(self.path(name));
    }

    /// The longest entry in bytes: one must not push all others out.
    fn entry_max(&self) -> u64 {
        self.bytes_max / 8
    }

    fn path(&self, name: &str) -> PathBuf {
        let hash = blake3::hash(name.as_bytes()).to_hex();
        self.folder.join(&hash[..2]).join(&hash[2..])
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() as u64 > self.entry_max() {
            return Ok(());
        }
        let path = self.path(name);
        let folder = path.parent().unwrap_or(&self.folder);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.persist(&path).map_err(|error| error.error)?;
        let mut held = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let now = held.map_or_else(|| self.look().0, |held| held + bytes.len() as u64);
        *held = Some(if now > self.bytes_max { self.shrink() } else { now });
        Ok(())
    }

    /// Removes what was used longest ago, until an eighth is free. Returns what is left, in bytes.
    fn shrink(&self) -> u64 {
        let (mut bytes, mut entries) = self.look();
        entries.sort_unstable_by_key(|entry| entry.used_at);
        for entry in entries {
            if bytes <= self.bytes_max - self.bytes_max / 8 {
                break;
            }
            let _ = fs::remove_file(&entry.path);
            bytes -= entry.bytes;
        }
        bytes
    }

    fn look(&self) -> (u64, Vec<Held>) {
        let now = SystemTime::now();
        let mut entries = Vec::new();
        for (folder, _) in list(&self.folder) {
            if !folder.symlink_metadata().is_ok_and(|about| about.is_dir()) {
                continue;
            }
            for (path, name) in list(&folder) {
                let Ok(about) = path.symlink_metadata() else { continue };
                let used_at = about.modified().unwrap_or(now);
                let age = now.duration_since(used_at).unwrap_or_default();
                if name.to_string_lossy().starts_with(TEMPORARY) {
                    if age > ABANDONED {
                        let _ = fs::remove_file(&path);
                    }
                    continue;
                }
                entries.push(Held { path, bytes: about.len(), used_at });
            }
        }
        (entries.iter().map(|entry| entry.bytes).sum(), entries)
    }
}

fn list(folder: &Path) -> impl Iterator<Item = (PathBuf, OsString)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| (entry.path(), entry.file_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_to_its_size_and_what_was_used_last() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("cache"), 16 << 10);
        assert_eq!(cache.get("a"), None);
        for number in 0..100 {
            cache.put(&number.to_string(), &[number; 1000]);
            let path = cache.path(&number.to_string());
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(number.into());
            File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
            // The first is used all the time.
            assert_eq!(cache.get("0"), Some(vec![0; 1000]), "{number}");
            assert!(cache.look().0 <= 16 << 10);
        }
        assert_eq!(cache.get("99"), Some(vec![99; 1000]));
        assert_eq!(cache.get("50"), None);
        let again = Cache::new(folder.path().join("cache"), 2000);
        again.put("new", &[1; 100]);
        assert!(again.look().0 <= 2000, "another process shrinks it, too");
        cache.put("large", &[1; 4 << 10]);
        assert_eq!(cache.get("large"), None);
        fs::remove_dir_all(folder.path()).unwrap();
        assert_eq!(cache.get("99"), None);
        cache.put("b", b"after all");
        assert_eq!(cache.get("b"), Some(b"after all".to_vec()));
        cache.forget("b");
        assert_eq!(cache.get("b"), None);
    }
}
