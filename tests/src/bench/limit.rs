//! What this machine can do: the steps of a backup by the plainest program, each with the ones before.
//!
//! It uses the libraries of the product (keyed BLAKE3, zstd 1, AES-256-GCM of aws-lc-rs, O_DIRECT both
//! ways) and none of its code but aligned buffers, and leaves out all that makes a repository: no index,
//! no order, no tree, no commit. Nothing here knows the benchmark: a source and a folder come in.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use clap::ValueEnum;
use crossbeam_channel::{Receiver, Sender, bounded};
use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use serde::Serialize;
use thinmover_io::{ALIGNMENT, BufferPool, PooledBuffer};

const READERS: usize = 4;
const WORKERS: usize = 2;
const PACK_WRITERS: usize = 2;
const PLAIN_WRITERS: usize = 4;
const READ_BYTES: usize = 2 << 20;
const BLOCK_BYTES: usize = 256 << 10;
const PACK_BYTES: usize = 32 << 20;
/// What a huge page holds: a disk takes that as one piece.
const WRITE_BYTES: usize = 2 << 20;
const ZSTD_LEVEL: i32 = 1;

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Read the whole source.
    Read,
    /// Leave out zeroes, hash each block, leave out what was seen before.
    Hash,
    /// Compress what is left.
    Compress,
    /// Encrypt and authenticate that.
    Seal,
    /// Write it in packs of 32 MiB, each made durable.
    Write,
}

impl Step {
    /// All, in order.
    pub const ALL: [Self; 5] = [Self::Read, Self::Hash, Self::Compress, Self::Seal, Self::Write];

    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Hash => "+ leave out zeroes, hash, leave out copies",
            Self::Compress => "+ compress",
            Self::Seal => "+ encrypt",
            Self::Write => "+ write",
        }
    }
}

/// Does the steps up to `last` with the file at `source`; packs go into `folder`.
///
/// # Errors
/// The first that a thread meets.
pub fn back_up(source: &Path, last: Step, folder: &Path) -> Result<()> {
    let source = open_direct(OpenOptions::new().read(true), source)?;
    let size = source.metadata()?.len();
    let next = AtomicU64::new(0);
    let buffers = BufferPool::new(READERS + 2 * WORKERS, READ_BYTES);
    // Memory costs time as well: no more of it than the steps need.
    let packs = match last {
        Step::Read | Step::Hash => BufferPool::new(WORKERS, ALIGNMENT),
        Step::Compress | Step::Seal => BufferPool::new(WORKERS, PACK_BYTES),
        Step::Write => BufferPool::new(WORKERS + PACK_WRITERS, PACK_BYTES),
    };
    let seen = Mutex::new(HashSet::new());
    let (to_workers, work) = bounded(WORKERS);
    let (to_writers, full) = bounded(1);

    thread::scope(|scope| {
        let mut threads = Vec::new();
        for _ in 0..READERS {
            let (source, next, buffers, to_workers) =
                (&source, &next, &buffers, to_workers.clone());
            threads.push(scope.spawn(move || read(source, size, next, buffers, &to_workers)));
        }
        for _ in 0..WORKERS {
            let (work, to_writers, seen, packs) = (work.clone(), to_writers.clone(), &seen, &packs);
            threads.push(scope.spawn(move || {
                let mut worker = Worker::new(last, seen, packs, to_writers)?;
                work.iter().try_for_each(|piece: Filled| worker.take(&piece))?;
                worker.finish()
            }));
        }
        for number in 0..PACK_WRITERS {
            let full = full.clone();
            threads.push(scope.spawn(move || write_packs(folder, number, &full)));
        }
        drop((to_workers, work, to_writers, full));
        join(threads)
    })
}

/// Writes `total_bytes` of random bytes to a new file at `target` and makes them durable: what a
/// restore of so many bytes cannot beat.
///
/// # Errors
/// The first that a thread meets.
pub fn write_plainly(target: &Path, total_bytes: u64) -> Result<()> {
    let total_bytes = total_bytes.next_multiple_of(WRITE_BYTES as u64);
    let file = open_direct(OpenOptions::new().write(true).create_new(true), target)?;
    preallocate(&file, total_bytes)?;
    let next = AtomicU64::new(0);
    let buffers = BufferPool::new(PLAIN_WRITERS, WRITE_BYTES);
    thread::scope(|scope| {
        let threads = (0..PLAIN_WRITERS).map(|number| {
            let (file, next, buffers) = (&file, &next, &buffers);
            scope.spawn(move || {
                let mut buffer = buffers.take();
                let seed = blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof();
                { seed }.fill(&mut buffer);
                loop {
                    let offset = next.fetch_add(WRITE_BYTES as u64, Ordering::Relaxed);
                    if offset >= total_bytes {
                        return Ok(());
                    }
                    file.write_all_at(&buffer, offset)?;
                }
            })
        });
        join(threads.collect())
    })?;
    file.sync_all().context("cannot sync")
}

/// A part of the source in a buffer that may be longer.
struct Filled {
    buffer: PooledBuffer,
    length: usize,
}

fn read(
    source: &File,
    size: u64,
    next: &AtomicU64,
    buffers: &BufferPool,
    to_workers: &Sender<Filled>,
) -> Result<()> {
    loop {
        let offset = next.fetch_add(READ_BYTES as u64, Ordering::Relaxed);
        let Some(left) = size.checked_sub(offset).filter(|&left| left > 0) else { return Ok(()) };
        let length = usize::try_from(left).map_or(READ_BYTES, |left| left.min(READ_BYTES));
        let mut buffer = buffers.take();
        let mut filled = 0;
        while filled < length {
            match source.read_at(&mut buffer[filled..], offset + filled as u64)? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                count => filled += count,
            }
        }
        if to_workers.send(Filled { buffer, length }).is_err() {
            return Ok(());
        }
    }
}

struct Worker<'p> {
    last: Step,
    seen: &'p Mutex<HashSet<[u8; 32]>>,
    compressor: zstd::bulk::Compressor<'static>,
    key: LessSafeKey,
    nonce: u64,
    pack: PooledBuffer,
    used: usize,
    packs: &'p BufferPool,
    full: Sender<Filled>,
}

impl<'p> Worker<'p> {
    fn new(
        last: Step,
        seen: &'p Mutex<HashSet<[u8; 32]>>,
        packs: &'p BufferPool,
        full: Sender<Filled>,
    ) -> Result<Self> {
        let compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
        let key = UnboundKey::new(&AES_256_GCM, &[7; 32]).map_err(|_| anyhow!("no cipher key"))?;
        let (key, pack) = (LessSafeKey::new(key), packs.take());
        Ok(Self { last, seen, compressor, key, nonce: 0, pack, used: 0, packs, full })
    }

    fn take(&mut self, piece: &Filled) -> Result<()> {
        let bytes = &piece.buffer[..piece.length];
        bytes.chunks(BLOCK_BYTES).try_for_each(|block| self.block(block))
    }

    fn block(&mut self, block: &[u8]) -> Result<()> {
        if self.last < Step::Hash || block.iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        let id = *blake3::keyed_hash(&[7; 32], block).as_bytes();
        let new = self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        if !new || self.last < Step::Compress {
            return Ok(());
        }
        let room = zstd::zstd_safe::compress_bound(block.len()) + AES_256_GCM.tag_len();
        if self.used + room > self.pack.len() {
            self.pass_on()?;
        }
        let place = &mut self.pack[self.used..self.used + room];
        let mut length = self.compressor.compress_to_buffer(block, place)?;
        if length >= block.len() {
            place[..block.len()].copy_from_slice(block);
            length = block.len();
        }
        if self.last >= Step::Seal {
            length += self.seal(length)?;
        }
        self.used += length;
        Ok(())
    }

    /// Encrypts what was last put into the pack; returns the tag's length.
    fn seal(&mut self, length: usize) -> Result<usize> {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.nonce.to_le_bytes());
        self.nonce += 1;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let (bytes, rest) = self.pack[self.used..].split_at_mut(length);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), bytes)
            .map_err(|_| anyhow!("cannot encrypt"))?;
        rest[..tag.as_ref().len()].copy_from_slice(tag.as_ref());
        Ok(tag.as_ref().len())
    }

    fn pass_on(&mut self) -> Result<()> {
        let length = std::mem::take(&mut self.used);
        if self.last >= Step::Write && length > 0 {
            let buffer = std::mem::replace(&mut self.pack, self.packs.take());
            self.full.send(Filled { buffer, length }).map_err(|_| anyhow!("the writers ended"))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.pass_on()
    }
}

fn write_packs(folder: &Path, writer: usize, full: &Receiver<Filled>) -> Result<()> {
    for (number, pack) in full.iter().enumerate() {
        let path = folder.join(format!("{writer}-{number}"));
        let file = open_direct(OpenOptions::new().write(true).create_new(true), &path)?;
        let length = pack.length.next_multiple_of(ALIGNMENT);
        preallocate(&file, length as u64)?;
        file.write_all_at(&pack.buffer[..length], 0)?;
        file.sync_data()?;
    }
    Ok(())
}

/// Opens with O_DIRECT, or without where the filesystem refuses it (open(2): EINVAL).
fn open_direct(options: &mut OpenOptions, path: &Path) -> Result<File> {
    let direct = options.clone().custom_flags(OFlag::O_DIRECT.bits()).open(path);
    let file = match direct {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => options.open(path),
        opened => opened,
    };
    file.with_context(|| format!("cannot open {}", path.display()))
}

fn preallocate(file: &File, length_bytes: u64) -> Result<()> {
    ensure!(length_bytes > 0, "nothing to write");
    Ok(fallocate(file, FallocateFlags::empty(), 0, i64::try_from(length_bytes)?)?)
}

fn join(threads: Vec<thread::ScopedJoinHandle<'_, Result<()>>>) -> Result<()> {
    threads
        .into_iter()
        .try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::files::total_bytes;

    /// Two blocks of noise, one of them twice, a hole, a block of text, and a short noisy tail.
    fn source(folder: &Path) -> std::path::PathBuf {
        let mut noise = vec![0; 2 * BLOCK_BYTES + ALIGNMENT];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let (noise, tail) = noise.split_at(2 * BLOCK_BYTES);
        let (hole, text) = (vec![0; BLOCK_BYTES], b"text".repeat(BLOCK_BYTES / 4));
        let path = folder.join("source");
        let bytes = [noise, &noise[..BLOCK_BYTES], &hole, &text, tail].concat();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn only_the_last_step_writes_and_only_what_is_new_and_compressed() {
        // Not in /tmp, which may be a tmpfs without O_DIRECT.
        let folder = tempfile::tempdir_in(crate::workspace::target_directory()).unwrap();
        let source = source(folder.path());
        for step in Step::ALL {
            let packs = folder.path().join(format!("{step:?}"));
            std::fs::create_dir(&packs).unwrap();
            back_up(&source, step, &packs).unwrap();
            let written = total_bytes(&packs).unwrap();
            if step == Step::Write {
                let incompressible = (2 * BLOCK_BYTES + ALIGNMENT) as u64;
                assert!(written > incompressible, "{written}");
                assert!(written < incompressible + 4 * ALIGNMENT as u64, "{written}");
            } else {
                assert_eq!(written, 0, "{step:?}");
            }
        }
    }

    #[test]
    fn as_much_is_written_plainly_as_was_asked_for() {
        let folder = tempfile::tempdir_in(crate::workspace::target_directory()).unwrap();
        let target = folder.path().join("target");
        write_plainly(&target, 3 * WRITE_BYTES as u64).unwrap();
        let bytes = std::fs::read(&target).unwrap();
        assert_eq!(bytes.len(), 3 * WRITE_BYTES);
        assert!(bytes.chunks(WRITE_BYTES).all(|piece| piece.iter().any(|&byte| byte != 0)));
    }

    #[test]
    fn a_source_or_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir_in(crate::workspace::target_directory()).unwrap();
        assert!(back_up(&folder.path().join("none"), Step::Read, folder.path()).is_err());
        let source = source(folder.path());
        assert!(back_up(&source, Step::Write, &folder.path().join("none")).is_err());
    }
}
