//! A cold page cache before each measured command.

use std::fs::{self, File};
use std::path::Path;

use anyhow::Result;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::files::each_file;

/// How the page cache is emptied here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColdCache {
    /// All of it, by `/proc/sys/vm/drop_caches`.
    Dropped,
    /// Where that is not allowed: the pages of the files in question, by posix_fadvise(2). The
    /// kernel's caches of names and inodes stay.
    Advised,
}

const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

impl ColdCache {
    /// The best way that is allowed here.
    pub fn probe() -> Self {
        if fs::write(DROP_CACHES, "1").is_ok() { Self::Dropped } else { Self::Advised }
    }

    /// Writes everything back, then empties the cache of the files at and below `paths`.
    ///
    /// # Errors
    /// When the cache cannot be dropped or a file not be opened.
    pub fn empty(self, paths: &[&Path]) -> Result<()> {
        nix::unistd::sync();
        match self {
            // proc_sys_vm(5): the page cache, directory entries and inodes.
            Self::Dropped => fs::write(DROP_CACHES, "3")?,
            Self::Advised => {
                for path in paths {
                    each_file(path, &mut |file, _| {
                        let dont_need = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
                        Ok(posix_fadvise(File::open(file)?, 0, 0, dont_need)?)
                    })?;
                }
            }
        }
        Ok(())
    }

    /// In words, for the report.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Dropped => "cold: the kernel's caches are dropped before each command",
            Self::Advised => {
                "not quite cold: dropping the kernel's caches is not allowed here, so only the pages of \
                 the volume and the repository are given up (posix_fadvise)"
            }
        }
    }
}
