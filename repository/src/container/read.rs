//! Reading the run of a stored container.

use std::ops::Range;

use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::names::ContainerRef;
use crate::store::{RangeBuffer, Store};

use super::Run;
use super::frame::{HEADER_BYTES, TRAILER_BYTES, footer_aad, parse_trailer};

/// Read at once from the end: the trailer and, for an ordinary pack, its whole footer.
const TAIL_BYTES: u64 = 32 << 10;

/// The footer of a container as it lies in the store.
pub(crate) struct Footer {
    pub(crate) run: Run,
    /// Where the sealed footer lies; the trailer follows to the object's end.
    pub(crate) range: Range<u64>,
}

/// The run at the end of a container of `size` bytes. Proves footer and trailer; the header's bytes
/// are not read.
pub(crate) fn read_footer(
    store: &dyn Store,
    keys: &DomainKeys,
    container: ContainerRef,
    size: u64,
) -> Result<Footer> {
    let object = container.key(keys.id());
    if size < (HEADER_BYTES + TRAILER_BYTES) as u64 || size > u64::from(u32::MAX) {
        return Err(Error::damaged(&object, format!("{size} bytes cannot be a pack")));
    }
    let mut bytes = RangeBuffer::default();
    let mut start = size.saturating_sub(TAIL_BYTES);
    store.get_range(&object, start..size, &mut bytes)?;
    let Some(trailer) = bytes.last_chunk::<TRAILER_BYTES>().copied() else {
        return Err(Error::damaged(&object, "it is cut off"));
    };
    let range = parse_trailer(&object, size, &trailer)?;
    if range.start < start {
        start = range.start;
        store.get_range(&object, start..size, &mut bytes)?;
    }
    // Bounded: both are inside the bytes just read, which are at most a run long.
    let [from, to] = [range.start, range.end].map(|at| usize::try_from(at - start));
    let (Ok(from), Ok(to)) = (from, to) else {
        return Err(Error::Internal("reading an index"));
    };
    let damaged = |reason: &str| Error::damaged_at(&object, range.clone(), reason);
    let sealed = bytes.get(from..to).ok_or_else(|| damaged("it is cut off"))?;
    let mut plain = Vec::new();
    let aad = footer_aad(keys.repository(), container, &trailer);
    if !keys.container_key(container.id)?.open(range.start, &aad, sealed, &mut plain) {
        return Err(damaged("its footer is not what was written"));
    }
    let run = Run::parse(plain).map_err(|reason| damaged(&format!("its index: {reason}")))?;
    if run.containers().len() > 1 && run.containers().contains(&container) {
        return Err(damaged("its index names its own blobs and others'"));
    }
    for (_, entry) in run.entries().filter(|(holder, _)| *holder == container) {
        if entry.end() > range.start {
            return Err(damaged("its index names bytes behind the blobs"));
        }
    }
    Ok(Footer { run, range })
}

/// As [`read_footer`], only the run.
pub(crate) fn read_run(
    store: &dyn Store,
    keys: &DomainKeys,
    container: ContainerRef,
    size: u64,
) -> Result<Run> {
    read_footer(store, keys, container, size).map(|footer| footer.run)
}
