//! The configuration: fragments of TOML files, merged, then turned into validated [`Settings`].
//! Nothing past that line sees an option that should have been checked.
//!
//! A value that is wrong by itself is refused while its file is read, so that the error names file,
//! line and key. What only shows once all files are merged is checked by [`Settings`]. Names of
//! users and groups are resolved here; one that the host does not know is a warning, so that the
//! agent stays up and the account may come later.

mod accounts;
mod fragment;
mod grants;
mod load;
mod s3;
mod settings;
mod size;
mod values;

pub(crate) use load::load;
pub(crate) use s3::{Conditions, S3Fragment, Sse};
pub(crate) use settings::{RepositorySettings, Settings};
pub(crate) use size::Size;
