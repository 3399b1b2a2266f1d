//! Reading everything that a backup reaches, and saying what is damaged. No byte of a container
//! that matters goes unread: header, every blob, footer, trailer.

mod backup;
mod containers;
mod report;

pub(crate) use backup::verify;
pub use report::{VerifyError, VerifyProgress, VerifyReport};
