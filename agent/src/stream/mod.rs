//! The data path: a volume's bytes into a repository, and back.
//!
//! ```text
//! upload    plan ─ reads ─ workers: hole? id, known?, compress, seal ─ packs
//!                                  └─ ids, put back in order ─ image tree
//! download  image tree ─ pack ranges ─ fetchers: read
//!                                     └─ writers: open, verify, merge ─ aligned writes
//! ```
//!
//! It is handed open files and a repository and nothing else of the host: no path, no LVM. The I/O
//! engine reads ahead and writes behind; the other stages are threads joined by bounded channels.
//! What is in flight is bounded by [`Limits`], whatever the volume's size. The first error ends
//! every stage, and every thread is joined before a call returns.

mod blocks;
mod cancel;
mod compare;
mod download;
mod fetch;
mod hole;
mod limits;
mod merge;
mod plan;
mod progress;
pub(crate) mod ranges;
mod scan;
#[cfg(test)]
mod tests;
mod tree;
mod upload;
mod work;
mod writer;

pub(crate) use blocks::{BlockRuns, Runs};
pub(crate) use cancel::{Cancel, Canceled};
pub(crate) use compare::Comparison;
pub(crate) use download::{Download, download, sync};
pub(crate) use hole::is_hole;
pub(crate) use limits::{DataPath, Limits, TooLittleMemory};
pub(crate) use plan::{Part, Planned, planned_bytes};
pub(crate) use progress::Progress;
pub(crate) use scan::{is_blank, scan};
pub(crate) use upload::{Input, upload};

use thinmover_io::WriteFailed;
use thinmover_repository::Error as RepositoryError;

/// Why the data path stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("cannot read {length} bytes at offset {offset} of the source")]
    Read { offset: u64, length: usize, source: std::io::Error },
    #[error("cannot tell which ranges of the source are to be read")]
    Plan(#[source] std::io::Error),
    #[error("cannot write {length} bytes at offset {offset} of the target")]
    Write { offset: u64, length: usize, source: std::io::Error },
    #[error("cannot restore {length} bytes at offset {offset} of the volume")]
    Block { offset: u64, length: u64, source: RepositoryError },
    #[error(
        "the target did not keep {length} bytes at offset {offset}: what was written there reads \
         differently"
    )]
    NotKept { offset: u64, length: u64 },
    #[error("cannot make the target durable")]
    Sync { source: std::io::Error },
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error(transparent)]
    Canceled(#[from] Canceled),
    #[error("a thread of the data path ended early without saying why")]
    Lost,
}

impl From<WriteFailed> for StreamError {
    fn from(failed: WriteFailed) -> Self {
        let WriteFailed { offset, length, source } = failed;
        Self::Write { offset, length, source }
    }
}
