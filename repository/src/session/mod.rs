//! Who uses a domain just now: marks of uploads and of readers (FORMAT.md, section 12). Collection
//! waits for the former, or keeps them from committing, and spares what the latter read.

mod mark;
mod reader;

pub(crate) use mark::{MARK_BYTES_MAX, Mark, MarkKind};
pub(crate) use reader::ReaderMark;
