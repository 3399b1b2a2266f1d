//! Packs and index objects (FORMAT.md, sections 7 to 9): how blobs lie in an object, and the run at
//! its end that says where. Bytes in, bytes out; requests to a store are made by the callers,
//! except for reading a run.

mod blob;
mod frame;
mod read;
mod run;
mod segment;

pub(crate) use blob::BlobOpener;
pub(crate) use frame::{
    FIRST_BLOB_AT, HEADER_BYTES, TRAILER_BYTES, check_header, header, seal_footer, u32_at,
};
pub(crate) use read::{read_footer, read_run};
pub(crate) use run::{
    Compression, ENTRY_BYTES, Entry, RUN_CONTAINERS_MAX, RUN_ENTRIES_MAX, Run, encode_entry,
    encode_run, parse_entry,
};
pub(crate) use segment::Segment;

/// Longest plaintext of a blob: the largest image block.
pub(crate) const BLOB_BYTES_MAX: usize = 8 << 20;
