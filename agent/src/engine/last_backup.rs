//! What this host remembers of each volume: the last backup it committed. A repository that no
//! longer has it was rolled back or pruned behind our back, and the next upload says so.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use thinmover_lvm::{Lineage, LvmUuid, Nonce};

use crate::durable::{self, LAST_BACKUPS};

/// The version of the file this build writes; a newer one is not read.
const VERSION: u32 = 1;

/// The most of a volume's identity that stands in a file's name: filesystems take 255 bytes in all.
const NAME_BYTES_MAX: usize = 200;

/// `STATE_DIR/last-backups/VOLUME.json`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LastBackup {
    version: u32,
    /// The repository's id.
    pub(super) repository: String,
    /// The backup's id.
    pub(super) backup: String,
    /// What the next backup can build on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<Note>,
}

/// What makes a backup the base of the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Note {
    /// Also in the volume's tag.
    pub(super) nonce: Nonce,
    /// Of the snapshot that the backup was made of.
    pub(super) lineage: Lineage,
    /// That snapshot, if it stayed in the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kept: Option<LvmUuid>,
}

impl LastBackup {
    pub(super) fn new(repository: String, backup: String, note: Option<Note>) -> Self {
        Self { version: VERSION, repository, backup, note }
    }

    /// What is remembered of the volume with this identity; nothing when it cannot be read: then the
    /// next backup has no base, and one that is kept in the pool goes.
    pub(super) fn read(state_dir: &Path, volume: &str) -> Option<Self> {
        Self::read_file(&path(state_dir, volume))
    }

    /// Forgets `backup`, which was deleted on purpose, if it is a volume's last one. Of which volume
    /// it is cannot be known where it was damaged. What fails costs a warning at the next upload.
    pub(super) fn forget(state_dir: &Path, backup: &str) {
        let Ok(entries) = fs::read_dir(state_dir.join(LAST_BACKUPS)) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            if Self::read_file(&path).is_some_and(|last| last.backup == backup) {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn read_file(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        serde_json::from_str::<Self>(&text).ok().filter(|last| last.version <= VERSION)
    }

    /// Remembers it durably in place of what was remembered before.
    pub(super) fn write(&self, state_dir: &Path, volume: &str) -> std::io::Result<()> {
        durable::replace(&path(state_dir, volume), serde_json::to_string(self)?.as_bytes())
    }
}

fn path(state_dir: &Path, volume: &str) -> PathBuf {
    // A path as identity holds slashes; a UUID has none to replace.
    let mut name = volume.replace('%', "%25").replace('/', "%2F");
    if name.len() > NAME_BYTES_MAX {
        // What a name cannot hold is told by a hash of the whole.
        let hash = blake3::hash(volume.as_bytes()).to_hex();
        name.truncate(name.floor_char_boundary(NAME_BYTES_MAX - hash.len() - 1));
        name = format!("{name}%{hash}");
    }
    state_dir.join(LAST_BACKUPS).join(format!("{name}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_is_remembered_by_volume() {
        let state = tempfile::tempdir().unwrap();
        let (first, second) = (
            LastBackup::new("r".into(), "1".into(), None),
            LastBackup::new("r".into(), "2".into(), None),
        );
        for volume in ["uuid", "/var/lib/disk.img"] {
            assert_eq!(LastBackup::read(state.path(), volume), None);
            first.write(state.path(), volume).unwrap();
            second.write(state.path(), volume).unwrap();
            assert_eq!(LastBackup::read(state.path(), volume), Some(second.clone()));
        }
        assert_eq!(fs::read_dir(state.path().join(LAST_BACKUPS)).unwrap().count(), 2);
    }

    #[test]
    fn paths_of_any_length_are_told_apart() {
        let state = tempfile::tempdir().unwrap();
        let long = format!("/srv/{}", "ä/".repeat(500));
        let others = [format!("{long}a"), format!("{long}b"), "/".repeat(70), "a".repeat(200)];
        for volume in others.iter().chain([&long]) {
            LastBackup::new("r".into(), volume.clone(), None).write(state.path(), volume).unwrap();
        }
        for volume in others.iter().chain([&long]) {
            assert_eq!(LastBackup::read(state.path(), volume).unwrap().backup, *volume);
        }
    }

    #[test]
    fn only_the_last_one_is_forgotten() {
        let state = tempfile::tempdir().unwrap();
        let last = LastBackup::new("r".into(), "2".into(), None);
        last.write(state.path(), "uuid").unwrap();
        LastBackup::forget(state.path(), "1");
        assert_eq!(LastBackup::read(state.path(), "uuid"), Some(last));
        LastBackup::forget(state.path(), "2");
        assert_eq!(LastBackup::read(state.path(), "uuid"), None);
    }

    #[test]
    fn one_of_a_newer_version_is_not_read() {
        let state = tempfile::tempdir().unwrap();
        let newer =
            LastBackup { version: VERSION + 1, ..LastBackup::new("r".into(), "1".into(), None) };
        newer.write(state.path(), "uuid").unwrap();
        assert_eq!(LastBackup::read(state.path(), "uuid"), None);
    }
}
