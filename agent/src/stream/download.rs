//! The way back: the image tree gives windows of ids, these become a few large reads of packs, and
//! each is opened, verified and written by one of a few writers, in whatever order.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use thinmover_io::{ALIGNMENT, IoFile};
use thinmover_repository::{Id, Image, PackRead, Window};

use super::writer::Writer;
use super::{Cancel, Limits, Progress, StreamError};

/// How much of a hole one piece of work clears, in bytes.
const HOLE_STEP_BYTES: u64 = 16 << 20;

/// What is to be written where.
pub(crate) struct Download<'a> {
    pub(crate) image: &'a Image,
    /// At least as large as the backup.
    pub(crate) target: &'a IoFile,
    /// Whether the target is known to read as zeroes throughout, so that holes need nothing.
    pub(crate) blank: bool,
}

/// What a download did, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Downloaded {
    /// Written to the target.
    pub(crate) written_bytes: u64,
    /// Given back to the target's device as holes.
    pub(crate) discarded_bytes: u64,
    /// Read from the target, to see whether a hole already reads as zeroes.
    pub(crate) read_bytes: u64,
}

impl Download<'_> {
    /// Where the image ends on the target, in bytes: what direct I/O can write at the least makes
    /// the image's tail a little longer, by zeroes, where the target has room for that.
    pub(super) fn padded_end(&self) -> u64 {
        let end = self.image.root().total_bytes().next_multiple_of(ALIGNMENT as u64);
        end.min(self.target.size_bytes())
    }

    /// Size of an image block in bytes.
    pub(super) fn block_bytes(&self) -> u64 {
        u64::from(self.image.root().block_bytes())
    }
}

impl Downloaded {
    fn add(&mut self, other: Self) {
        self.written_bytes += other.written_bytes;
        self.discarded_bytes += other.discarded_bytes;
        self.read_bytes += other.read_bytes;
    }
}

enum Work {
    /// A range of a pack and the image blocks in it.
    Pack(PackRead),
    /// `length` bytes at `offset` of the target that must read as zeroes.
    Hole { offset: u64, length: u64 },
}

/// Writes the backup to the target and returns once it is durable. The target then holds the
/// backup's bytes and, beyond them, zeroes.
///
/// The first image block is cleared before anything else and written last: until all the rest is
/// durable the target does not look like a filesystem.
///
/// # Errors
/// The first that any stage meets; the target then holds part of the backup, without its first
/// block. Data that cannot be verified is an error and is not written.
pub(crate) fn download(
    job: &Download,
    limits: &Limits,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<Downloaded, StreamError> {
    cancel.check()?;
    let sync = || job.target.direct().sync().map_err(|source| StreamError::Sync { source });
    let mut total = Downloaded::default();
    if !job.blank {
        let mut writer = Writer::new(job, progress)?;
        writer.clear(0, job.block_bytes().min(job.target.size_bytes()))?;
        total.add(writer.finish()?);
        sync()?;
    }

    let failed = AtomicBool::new(false);
    let (to_writers, work) = bounded(limits.writers);
    let first_block = thread::scope(|scope| {
        let writers: Vec<_> = (0..limits.writers)
            .map(|_| {
                let (work, failed) = (work.clone(), &failed);
                scope.spawn(move || {
                    write(Writer::new(job, progress), &work, failed, progress, cancel)
                })
            })
            .collect();
        drop(work);
        let planned = plan(job, limits, &to_writers, &failed);
        // Ends the writers: at once after an error, else when all is done.
        failed.fetch_or(planned.is_err(), Relaxed);
        drop(to_writers);
        for writer in writers {
            total.add(writer.join().map_err(|_| StreamError::Lost)??);
        }
        planned
    })?;

    sync()?;
    if let Some(first_block) = first_block {
        let mut writer = Writer::new(job, progress)?;
        writer.restore(&first_block)?;
        total.add(writer.finish()?);
        sync()?;
    }
    Ok(total)
}

/// Hands out all the work but the first image block, which it returns.
fn plan(
    job: &Download,
    limits: &Limits,
    to_writers: &Sender<Work>,
    failed: &AtomicBool,
) -> Result<Option<PackRead>, StreamError> {
    let hand_out = |work| {
        if failed.load(Relaxed) || to_writers.send(work).is_err() {
            return Err(StreamError::Lost);
        }
        Ok(())
    };
    let clear = |offset, length| {
        steps(offset, length)
            .try_for_each(|(offset, length)| hand_out(Work::Hole { offset, length }))
    };
    let end = job.padded_end();
    let mut walk = job.image.walk();
    let mut first_block = None;
    while let Some(mut window) = walk.next_window(limits.window_blocks)? {
        for (offset, length) in holes(&window, job.block_bytes(), end) {
            clear(offset, length)?;
        }
        if window.first_block == 0 {
            let first = window.ids.iter_mut().next().map(|id| std::mem::replace(id, Id::HOLE));
            let first = Window { first_block: 0, ids: first.into_iter().collect() };
            first_block = job.image.plan(&first)?.pop();
        }
        for read in job.image.plan(&window)? {
            hand_out(Work::Pack(read))?;
        }
    }
    clear(end, job.target.size_bytes().saturating_sub(end))?;
    Ok(first_block)
}

/// The ranges of the target (offset and length in bytes) that are holes in `window`, merged; the
/// image ends at `end`.
fn holes(window: &Window, block_bytes: u64, end: u64) -> Vec<(u64, u64)> {
    let mut holes: Vec<(u64, u64)> = Vec::new();
    for (block, id) in (window.first_block..).zip(&window.ids) {
        let offset = block * block_bytes;
        let length = block_bytes.min(end - offset);
        match holes.last_mut() {
            _ if !id.is_hole() => {}
            Some((start, merged)) if *start + *merged == offset => *merged += length,
            _ => holes.push((offset, length)),
        }
    }
    holes
}

/// Cuts a range into pieces that several writers can share.
fn steps(offset: u64, length: u64) -> impl Iterator<Item = (u64, u64)> {
    let end = offset + length;
    std::iter::successors(Some(offset), |at| Some(at + HOLE_STEP_BYTES))
        .take_while(move |&at| at < end)
        .map(move |at| (at, HOLE_STEP_BYTES.min(end - at)))
}

fn write(
    writer: Result<Writer, StreamError>,
    work: &Receiver<Work>,
    failed: &AtomicBool,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<Downloaded, StreamError> {
    let mut writer = writer.inspect_err(|_| failed.store(true, Relaxed))?;
    for piece in work {
        if failed.load(Relaxed) {
            break;
        }
        let done = cancel.check().map_err(StreamError::from).and_then(|()| match piece {
            Work::Pack(read) => writer.restore(&read),
            Work::Hole { offset, length } => {
                writer.clear(offset, length)?;
                progress.add_done_bytes(length);
                Ok(())
            }
        });
        if let Err(error) = done {
            failed.store(true, Relaxed);
            return Err(error);
        }
    }
    writer.finish().inspect_err(|_| failed.store(true, Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_cover_a_range_once() {
        for (offset, length) in [(0, 0), (5, 1), (7, HOLE_STEP_BYTES), (0, 3 * HOLE_STEP_BYTES + 1)]
        {
            let mut at = offset;
            for (start, step) in steps(offset, length) {
                assert_eq!(start, at);
                assert!(step > 0 && step <= HOLE_STEP_BYTES);
                at += step;
            }
            assert_eq!(at, offset + length);
        }
    }

    #[test]
    fn neighbouring_holes_are_merged_and_end_with_the_image() {
        let (hole, data) = (Id::HOLE, Id([1; 32]));
        let window = Window { first_block: 2, ids: vec![hole, data, hole, hole] };
        assert_eq!(holes(&window, 100, 550), [(200, 100), (400, 150)]);
    }
}
