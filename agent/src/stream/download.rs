//! The way back: the image tree gives windows of ids, these become a few large reads of packs, which
//! are fetched ahead, and each is opened, verified and written by one of a few writers, in whatever
//! order.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use thinmover_io::{ALIGNMENT, IoFile};
use thinmover_repository::{Image, RangeBuffer};

use super::blocks::BlockRuns;
use super::fetch::{buffer, fetch_all};
use super::work::{Pass, Stages, Work, hand_out};
use super::writer::Writer;
use super::{Cancel, Limits, Progress, StreamError};

/// What is to be written where.
pub(crate) struct Download<'a> {
    pub(crate) image: &'a Image,
    /// At least as large as the backup.
    pub(crate) target: &'a IoFile,
    /// Whether the target is known to read as zeroes throughout.
    pub(crate) blank: bool,
    /// Whether nobody sees the target before all of it is there: then its first block need not be last.
    pub(crate) unseen: bool,
    /// Whether what the target takes into use with a write may show old bytes beside it: then holes are
    /// looked at once there is no more to write.
    pub(crate) stale: bool,
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
    /// Whether holes need nothing.
    pub(super) fn is_zero_in_holes(&self) -> bool {
        self.blank && !self.stale
    }

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

/// Writes the backup to the target, or `only` these blocks of it, and returns once it is durable. All
/// that was to be written then holds the backup's bytes and, behind them, zeroes.
///
/// The first image block, which is one of `only`, is opened before anything is written, cleared first
/// and written last: until all the rest is durable the target does not look like a filesystem.
///
/// # Errors
/// The first that any stage meets; the target then holds part of the backup, without its first
/// block. Data that cannot be verified is an error and is not written.
pub(crate) fn download(
    job: &Download,
    mut only: Option<&mut dyn BlockRuns>,
    limits: &Limits,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<Downloaded, StreamError> {
    cancel.check()?;
    let first_block = if job.unseen { None } else { first_block(job)? };
    let mut total = Downloaded::default();
    if !job.unseen && !job.is_zero_in_holes() {
        let mut writer = Writer::new(job, progress)?;
        let length = job.block_bytes().min(job.target.size_bytes());
        if job.stale {
            // What is beside it comes to light now, and not with the last write.
            writer.put_zeroes(0, length)?;
        } else {
            writer.clear(0, length)?;
        }
        total.add(writer.finish()?);
        sync(job.target)?;
    }
    let passes: &[Pass] = if job.stale {
        &[Pass { data: true, holes: false }, Pass { data: false, holes: true }]
    } else {
        &[Pass { data: true, holes: true }]
    };
    for pass in passes {
        let only = only.as_mut().map(|only| &mut **only as &mut dyn BlockRuns);
        total.add(run(job, only, *pass, limits, progress, cancel)?);
    }
    sync(job.target)?;
    if let Some(plain) = first_block {
        let mut writer = Writer::new(job, progress)?;
        writer.put(0, &plain)?;
        progress.add_done_bytes(plain.len() as u64);
        total.add(writer.finish()?);
        sync(job.target)?;
    }
    Ok(total)
}

/// Returns once all that was written to `target` is durable.
///
/// # Errors
/// `Sync`.
pub(crate) fn sync(target: &IoFile) -> Result<(), StreamError> {
    target.direct().sync().map_err(|source| StreamError::Sync { source })
}

/// The first image block, unless it is a hole.
fn first_block(job: &Download) -> Result<Option<Vec<u8>>, StreamError> {
    let blocks = (0..job.image.root().blocks().min(1)).collect::<Vec<_>>();
    let ids = job.image.block_ids(&blocks)?;
    let reads = job.image.plan_blocks(blocks.into_iter().zip(ids))?;
    let (mut bytes, mut plain) = (buffer(job), None);
    let mut opener = job.image.opener()?;
    let fetched = job.image.fetch_each(reads, &mut bytes, &mut |read, bytes| {
        for blob in &read.blobs {
            opener.open(read, bytes, blob, plain.get_or_insert_default())?;
        }
        Ok(())
    });
    let length = u64::from(job.image.root().block_length(0));
    fetched.map_err(|source| StreamError::Block { offset: 0, length, source })?;
    Ok(plain)
}

/// One pass of all stages.
fn run(
    job: &Download,
    only: Option<&mut dyn BlockRuns>,
    pass: Pass,
    limits: &Limits,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<Downloaded, StreamError> {
    let failed = AtomicBool::new(false);
    let (to_fetchers, reads) = bounded(limits.fetchers);
    let (to_writers, work) = bounded(0);
    let (done_with, used) = unbounded();
    thread::scope(|scope| {
        let fetchers: Vec<_> = (0..limits.fetchers)
            .map(|_| {
                let (reads, used, to_writers) = (reads.clone(), used.clone(), to_writers.clone());
                let failed = &failed;
                scope.spawn(move || fetch_all(job, &reads, &used, &to_writers, failed))
            })
            .collect();
        let writers: Vec<_> = (0..limits.writers)
            .map(|_| {
                let (work, done_with, failed) = (work.clone(), done_with.clone(), &failed);
                scope.spawn(move || {
                    let writer = Writer::new(job, progress);
                    write(writer, &work, &done_with, failed, progress, cancel)
                })
            })
            .collect();
        drop((reads, work, used, done_with));
        let stages = Stages { fetchers: &to_fetchers, writers: &to_writers, failed: &failed };
        let handed_out = hand_out(job, only, pass, limits, &stages);
        // Ends the other stages: at once after an error, else when all is done.
        failed.fetch_or(handed_out.is_err(), Relaxed);
        drop((to_fetchers, to_writers));
        for fetcher in fetchers {
            fetcher.join().map_err(|_| StreamError::Lost)??;
        }
        let mut total = Downloaded::default();
        for writer in writers {
            total.add(writer.join().map_err(|_| StreamError::Lost)??);
        }
        handed_out.map(|()| total)
    })
}

fn write(
    writer: Result<Writer, StreamError>,
    work: &Receiver<Work>,
    done_with: &Sender<RangeBuffer>,
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
            Work::Pack(read, bytes) => {
                writer.restore(&read, &bytes)?;
                // Where nobody fetches any more it is of no use.
                let _ = done_with.send(bytes);
                Ok(())
            }
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
