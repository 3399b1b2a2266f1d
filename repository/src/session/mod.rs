//! Who uses a domain just now: marks of uploads and of readers (FORMAT.md, section 12). Collection
//! waits for the former, or keeps them from committing, and spares what the latter read.

mod ack;
mod mark;
mod members;
mod open;
mod reader;

pub(crate) use ack::{Acks, DOUBTFUL_MAX, put_ack};
pub(crate) use mark::{Mark, MarkKind};
pub(crate) use members::{Ends, Readers, Reading, list_marks, list_parsed};
pub use open::{OpenSession, SessionKind};
pub(crate) use open::{end_session, open_sessions};
pub(crate) use reader::ReaderMark;
