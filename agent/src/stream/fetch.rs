//! The stage of a download that waits for the repository: it reads ranges of packs ahead of the
//! writers. A fetcher holds one range until a writer takes it, so that fetchers and writers together
//! hold no more buffers than they are.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crossbeam_channel::{Receiver, Sender};
use thinmover_repository::{Fetched, PackRead, RangeBuffer};

use super::StreamError;
use super::download::Download;
use super::work::Work;

/// Hands each of `reads` to the writers with its bytes, until one side has ended. `used` are buffers
/// that the writers are done with.
pub(super) fn fetch_all(
    job: &Download,
    reads: &Receiver<PackRead>,
    used: &Receiver<RangeBuffer>,
    to_writers: &Sender<Work>,
    failed: &AtomicBool,
) -> Result<(), StreamError> {
    for read in reads {
        let mut pending = vec![read];
        while let Some(read) = pending.pop() {
            if failed.load(Relaxed) {
                return Ok(());
            }
            let mut bytes = used.try_recv().unwrap_or_else(|_| buffer(job));
            match fetch(job, &read, &mut bytes).inspect_err(|_| failed.store(true, Relaxed))? {
                Fetched::Bytes => {
                    if to_writers.send(Work::Pack(read, bytes)).is_err() {
                        return Ok(());
                    }
                }
                Fetched::Moved(instead) => pending.extend(instead),
            }
        }
    }
    Ok(())
}

/// A buffer with room for any read.
pub(super) fn buffer(job: &Download) -> RangeBuffer {
    let block_bytes = job.image.root().block_bytes() as usize;
    RangeBuffer::with_room(PackRead::longest_bytes(block_bytes))
}

/// Reads the bytes of `read` into `out`, see [`Image::fetch`](thinmover_repository::Image::fetch).
fn fetch(job: &Download, read: &PackRead, out: &mut RangeBuffer) -> Result<Fetched, StreamError> {
    job.image.fetch(read, out).map_err(|source| {
        let blocks = || read.blobs.iter().flat_map(|blob| &blob.blocks);
        let (first, last) = (blocks().min().unwrap_or(&0), blocks().max().unwrap_or(&0));
        let (offset, end) = (first * job.block_bytes(), (last + 1) * job.block_bytes());
        StreamError::Block { offset, length: end - offset, source }
    })
}
