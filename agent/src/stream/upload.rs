//! The way into the repository: ranges of the source are read ahead by the I/O engine, cut into image
//! blocks and stored by a fixed set of workers, and their ids put back in order into the image tree.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use thinmover_io::{BufferPool, Completion, IoFile, Request};
use thinmover_repository::{Id, ImageBuilder, ImageRoot, Upload};

use super::{Cancel, Canceled, Limits, Progress, StreamError, is_hole};

/// How long a stage that waits does so before it looks whether the job was canceled.
const CANCEL_PERIOD: Duration = Duration::from_millis(500);

/// What an upload did.
#[derive(Debug)]
pub(crate) struct Uploaded {
    /// The root of the image tree, not yet committed.
    pub(crate) image: ImageRoot,
    /// Read from the source, in bytes.
    pub(crate) read_bytes: u64,
}

/// A piece of the source: `length` bytes at `offset`, a whole number of image blocks but for the
/// source's tail. `sequence` counts the pieces from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    sequence: u64,
    offset: u64,
    length: usize,
}

/// The ids of one range's image blocks in order.
struct StoredRange {
    sequence: u64,
    length: usize,
    ids: Vec<Id>,
}

type Report = Result<StoredRange, StreamError>;

/// Stores the whole of `source` in image blocks of `block_bytes` (a power of two). What it returns
/// is listed nowhere until the caller commits it.
///
/// # Errors
/// The first that any stage meets; nothing is listed then.
pub(crate) fn upload(
    source: &IoFile,
    block_bytes: u32,
    upload: &Upload,
    limits: &Limits,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<Uploaded, StreamError> {
    let builder = upload.image_builder(source.size_bytes(), block_bytes)?;
    let block_bytes = block_bytes as usize;
    let range_bytes = limits.buffer_bytes.max(block_bytes);
    let pool = BufferPool::new(limits.buffers, range_bytes);

    // A range is planned only with one of these in hand, and it comes back once the range's ids
    // are in the tree: that bounds how far the stages may run ahead of a slow range.
    let ahead = limits.buffers * 4;
    let (permit_back, permits) = bounded(ahead);
    for _ in 0..ahead {
        let _ = permit_back.send(());
    }
    // Bounded by the pool: each completion holds one of its buffers.
    let (to_workers, work) = unbounded();
    let (reports, reported) = bounded(ahead);

    thread::scope(|scope| {
        let plan = ranges(source.size_bytes(), range_bytes);
        let failed = reports.clone();
        scope.spawn(move || {
            if let Err(canceled) = read(source, plan, &pool, &permits, &to_workers, cancel) {
                let _ = failed.send(Err(canceled.into()));
            }
        });
        for _ in 0..limits.workers {
            let (work, reports) = (work.clone(), reports.clone());
            scope.spawn(move || {
                if let Err(error) = store(upload, block_bytes, &work, &reports) {
                    let _ = reports.send(Err(error));
                }
                // After an error the reader may wait for buffers that are still queued here.
                work.iter().for_each(drop);
            });
        }
        // The stages end when the channels do: keep no end of one that belongs to a thread.
        drop((work, reports));
        assemble(source.size_bytes(), builder, reported, permit_back, progress)
    })
}

fn ranges(size_bytes: u64, range_bytes: usize) -> impl Iterator<Item = Range> {
    (0..size_bytes).step_by(range_bytes).zip(0..).map(move |(offset, sequence)| Range {
        sequence,
        offset,
        length: usize::try_from(size_bytes - offset).map_or(range_bytes, |l| l.min(range_bytes)),
    })
}

/// Keeps as many reads in flight as there are buffers.
fn read(
    source: &IoFile,
    mut ranges: impl Iterator<Item = Range>,
    pool: &BufferPool,
    permits: &Receiver<()>,
    to_workers: &Sender<Completion>,
    cancel: &Cancel,
) -> Result<(), Canceled> {
    loop {
        cancel.check()?;
        match permits.recv_timeout(CANCEL_PERIOD) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let Some(Range { sequence, offset, length }) = ranges.next() else { break };
        let request = Request { tag: sequence, offset, length, buffer: pool.take() };
        source.read(request, to_workers);
    }
    Ok(())
}

fn store(
    upload: &Upload,
    block_bytes: usize,
    work: &Receiver<Completion>,
    reports: &Sender<Report>,
) -> Result<(), StreamError> {
    let mut packer = upload.packer()?;
    let _panic = TellOfPanic(reports);
    for Completion { tag: sequence, offset, length, result } in work {
        let buffer = result.map_err(|source| StreamError::Read { offset, length, source })?;
        let mut ids = Vec::with_capacity(length.div_ceil(block_bytes));
        for block in buffer[..length].chunks(block_bytes) {
            ids.push(if is_hole(block) { Id::HOLE } else { packer.store_block(block)?.id });
        }
        drop(buffer);
        if reports.send(Ok(StoredRange { sequence, length, ids })).is_err() {
            return Ok(());
        }
    }
    Ok(packer.finish()?)
}

/// Without a word from the worker that had it, everybody would wait for its range.
struct TellOfPanic<'a>(&'a Sender<Report>);

impl Drop for TellOfPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.send(Err(StreamError::Lost));
        }
    }
}

/// Takes the ranges in whatever order they come and appends them to the image tree in theirs.
/// It owns its ends of the channels: when it returns early they close, and with them every stage.
fn assemble(
    size_bytes: u64,
    mut builder: ImageBuilder,
    reported: Receiver<Report>,
    permit_back: Sender<()>,
    progress: &Progress,
) -> Result<Uploaded, StreamError> {
    let mut early = BTreeMap::new();
    let (mut next, mut read_bytes) = (0, 0);
    for report in reported {
        let report = report?;
        early.insert(report.sequence, report);
        while let Some(StoredRange { length, ids, .. }) = early.remove(&next) {
            ids.into_iter().try_for_each(|id| builder.push(id))?;
            next += 1;
            read_bytes += length as u64;
            progress.add_done_bytes(length as u64);
            let _ = permit_back.try_send(());
        }
    }
    if read_bytes != size_bytes {
        return Err(StreamError::Lost);
    }
    Ok(Uploaded { image: builder.finish()?, read_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_the_source_once_and_in_order() {
        for size in [0, 1, 4096, 8191, 8192, 20000] {
            let mut at = 0;
            for (range, sequence) in ranges(size, 4096).zip(0..) {
                assert_eq!((range.sequence, range.offset), (sequence, at));
                assert!(range.length > 0 && range.length <= 4096);
                at += range.length as u64;
            }
            assert_eq!(at, size);
        }
    }
}
