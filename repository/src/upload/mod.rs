//! Writing: an upload session from its mark to its commit (FORMAT.md, section 12). Workers share an
//! [`Upload`] by reference; each packs on its own. The commit is the only step that makes anything
//! visible, and it does not happen if any worker failed.

mod base;
mod claims;
mod early;
mod known;
mod packer;
mod put;
mod session;
mod trees;

pub use base::LiveBackup;
pub use packer::{Packer, Stored};
pub(crate) use put::create;
pub use session::{Upload, UploadLimits};
