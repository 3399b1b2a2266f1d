//! The way into the repository: pieces of the source are read ahead by the I/O engine, cut into image
//! blocks and stored by a fixed set of workers, and their ids put back in order into the image tree.

use std::collections::BTreeMap;
use std::time::Duration;
use std::{io, iter, thread};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use thinmover_io::{BufferPool, Completion, IoFile, Request};
use thinmover_repository::{Error as RepositoryError, Id, Image, ImageRoot, Packer, Upload};

use super::plan::{Part, Piece, Planned, pieces};
use super::tree::Tree;
use super::{Cancel, Limits, Progress, StreamError, is_hole};

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

/// What is to be stored.
pub(crate) struct Input<'a> {
    pub(crate) file: &'a IoFile,
    /// What becomes of which range of it, ascending and disjoint.
    pub(crate) plan: Box<dyn Iterator<Item = Planned> + Send + 'a>,
    /// The image that has what the plan leaves out; without one that is holes.
    pub(crate) base: Option<&'a Image>,
}

impl<'a> Input<'a> {
    /// All of `file`.
    pub(crate) fn whole(file: &'a IoFile) -> Self {
        let all = Ok((0..file.size_bytes(), Part::Read));
        Self { file, plan: Box::new(iter::once(all)), base: None }
    }
}

/// The ids of one piece's image blocks in order.
struct StoredPiece {
    sequence: u64,
    offset: u64,
    length: u64,
    /// `None` for holes.
    ids: Option<Vec<Id>>,
}

type Report = Result<StoredPiece, StreamError>;

/// Stores `input` in image blocks of `block_bytes` (a power of two). What it returns is listed nowhere
/// until the caller commits it.
///
/// # Errors
/// The first that any stage meets; nothing is listed then.
pub(crate) fn upload(
    input: Input<'_>,
    block_bytes: u32,
    upload: &Upload,
    limits: &Limits,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<Uploaded, StreamError> {
    let Input { file, plan, base } = input;
    let size_bytes = file.size_bytes();
    let tree = Tree::begin(upload, base, size_bytes, block_bytes)?;
    let block_bytes = block_bytes as usize;
    let piece_bytes = limits.buffer_bytes.max(block_bytes);
    let pool = BufferPool::new(limits.buffers, piece_bytes);

    // A piece is planned only with one of these in hand, and it comes back once the piece's ids
    // are in the tree: that bounds how far the stages may run ahead of a slow piece.
    let ahead = limits.buffers * 4;
    let (permit_back, permits) = bounded(ahead);
    for _ in 0..ahead {
        let _ = permit_back.send(());
    }
    // Bounded by the pool: each completion holds one of its buffers.
    let (to_workers, work) = unbounded();
    let (reports, reported) = bounded(ahead);

    thread::scope(|scope| {
        let plan = pieces(plan, piece_bytes);
        let failed = reports.clone();
        let done = reports.clone();
        let reader = scope.spawn(move || {
            read(file, plan, &pool, &permits, &to_workers, &done, cancel)
                .map_err(|error| drop(failed.send(Err(error))))
        });
        for _ in 0..limits.workers {
            let (work, reports) = (work.clone(), reports.clone());
            scope.spawn(move || {
                if let Err(error) = work_on(upload, block_bytes, &work, &reports) {
                    let _ = reports.send(Err(error));
                }
                // After an error the reader may wait for buffers that are still queued here.
                work.iter().for_each(drop);
            });
        }
        // The stages end when the channels do: keep no end of one that belongs to a thread.
        drop((work, reports));
        let assembled = assemble(tree, block_bytes, reported, permit_back, progress)?;
        // All stages have ended without an error; what was planned must be there.
        if reader.join().ok().and_then(Result::ok) != Some(assembled.pieces) {
            return Err(StreamError::Lost);
        }
        let Assembled { tree, read_bytes, .. } = assembled;
        Ok(Uploaded { image: tree.finish()?, read_bytes })
    })
}

/// Keeps as many reads in flight as there are buffers, and returns how many there were.
fn read(
    source: &IoFile,
    mut pieces: impl Iterator<Item = io::Result<Piece>>,
    pool: &BufferPool,
    permits: &Receiver<()>,
    to_workers: &Sender<Completion>,
    done: &Sender<Report>,
    cancel: &Cancel,
) -> Result<u64, StreamError> {
    let mut count = 0;
    loop {
        cancel.check()?;
        match permits.recv_timeout(CANCEL_PERIOD) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let Some(piece) = pieces.next() else { break };
        let Piece { sequence, offset, length, part } = piece.map_err(StreamError::Plan)?;
        count += 1;
        match part {
            Part::Hole => {
                // Fails only once the job has, and then the next permit does not come.
                let _ = done.send(Ok(StoredPiece { sequence, offset, length, ids: None }));
            }
            Part::Read => {
                let buffer = pool.take();
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                source.read(Request { tag: sequence, offset, length, buffer }, to_workers);
            }
        }
    }
    Ok(count)
}

/// Works on pieces until there are no more. An error is reported before the packer goes: its loss is
/// what everybody else would report.
fn work_on(
    upload: &Upload,
    block_bytes: usize,
    work: &Receiver<Completion>,
    reports: &Sender<Report>,
) -> Result<(), StreamError> {
    let mut packer = upload.packer()?;
    let _panic = TellOfPanic(reports);
    match store(&mut packer, block_bytes, work, reports) {
        Ok(()) => Ok(packer.finish()?),
        Err(error) => {
            let _ = reports.send(Err(error));
            Ok(())
        }
    }
}

fn store(
    packer: &mut Packer,
    block_bytes: usize,
    work: &Receiver<Completion>,
    reports: &Sender<Report>,
) -> Result<(), StreamError> {
    for Completion { tag: sequence, offset, length, result } in work {
        let buffer = result.map_err(|source| StreamError::Read { offset, length, source })?;
        let mut ids = Vec::with_capacity(length.div_ceil(block_bytes));
        for block in buffer[..length].chunks(block_bytes) {
            ids.push(if is_hole(block) { Id::HOLE } else { packer.store_block(block)?.id });
        }
        drop(buffer);
        if reports
            .send(Ok(StoredPiece { sequence, offset, length: length as u64, ids: Some(ids) }))
            .is_err()
        {
            return Ok(());
        }
    }
    Ok(())
}

/// Without a word from the worker that had it, everybody would wait for its piece.
struct TellOfPanic<'a>(&'a Sender<Report>);

impl Drop for TellOfPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.send(Err(StreamError::Lost));
        }
    }
}

/// What has been put in order.
struct Assembled<'u> {
    tree: Tree<'u>,
    pieces: u64,
    read_bytes: u64,
}

/// Takes the pieces in whatever order they come and puts them into the image tree in theirs.
/// It owns its ends of the channels: when it returns early they close, and with them every stage.
fn assemble<'u>(
    tree: Tree<'u>,
    block_bytes: usize,
    reported: Receiver<Report>,
    permit_back: Sender<()>,
    progress: &Progress,
) -> Result<Assembled<'u>, StreamError> {
    let mut early = BTreeMap::new();
    let mut done = Assembled { tree, pieces: 0, read_bytes: 0 };
    for report in &reported {
        let report = report?;
        early.insert(report.sequence, report);
        while let Some(StoredPiece { offset, length, ids, .. }) = early.remove(&done.pieces) {
            let first_block = offset / block_bytes as u64;
            match ids {
                Some(ids) => {
                    done.tree.put(first_block, &ids).map_err(|error| cause(error, &reported))?;
                    done.read_bytes += length;
                    progress.add_done_bytes(length);
                }
                None => {
                    let blocks = length.div_ceil(block_bytes as u64);
                    let holes = first_block..first_block + blocks;
                    done.tree.put_holes(holes).map_err(|error| cause(error, &reported))?;
                }
            }
            done.pieces += 1;
            let _ = permit_back.try_send(());
        }
    }
    Ok(done)
}

/// What a worker reported, where the tree failed only because a worker did.
fn cause(error: RepositoryError, reported: &Receiver<Report>) -> StreamError {
    let reported = match &error {
        RepositoryError::UploadFailed { .. } => reported.try_iter().find_map(Result::err),
        _ => None,
    };
    reported.unwrap_or_else(|| error.into())
}
