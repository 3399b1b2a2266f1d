//! More records than memory holds: sorted in pieces, which lie one after another in a file without a
//! name, and merged when they are read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use thinmover_io::create_unnamed;

use crate::error::{Error, Result};

/// What is read of a piece at once at least, in bytes: a piece is never so small that this costs much.
const READ_BYTES_MIN: usize = 4 << 10;
const READ_BYTES_MAX: usize = 256 << 10;

/// Records of `N` bytes. Memory is bounded: by what it was made with, and 4 KiB for each so many bytes
/// while they are read.
#[derive(Debug)]
pub(super) struct Spill<const N: usize> {
    folder: PathBuf,
    records_max: usize,
    pushed: usize,
    records: Vec<[u8; N]>,
    file: Option<File>,
    /// Where pieces end in the file, in bytes.
    ends: Vec<u64>,
}

impl<const N: usize> Spill<N> {
    /// An empty collection that holds `memory_bytes` in memory and the rest in `folder`.
    pub(super) fn new(folder: &Path, memory_bytes: usize) -> Self {
        let records_max = (memory_bytes / N).max(1);
        let (records, ends) = (Vec::new(), Vec::new());
        let folder = folder.to_owned();
        Self { folder, records_max, pushed: 0, records, file: None, ends }
    }

    /// How many records it was given, doubles included.
    pub(super) fn pushed(&self) -> usize {
        self.pushed
    }

    /// Whether memory was enough so far.
    pub(super) fn is_held(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn push(&mut self, record: [u8; N]) -> Result<()> {
        if self.records.len() == self.records_max {
            self.write_out().map_err(|source| self.scratch_error(source))?;
        }
        if self.records.len() == self.records.capacity() {
            // Doubling could go far over the bound.
            let room = self.records_max - self.records.len();
            self.records.reserve_exact(self.records.len().clamp(1024, 1 << 20).min(room));
        }
        self.records.push(record);
        self.pushed += 1;
        Ok(())
    }

    /// All records in order, without doubles.
    pub(super) fn sorted(&mut self) -> Result<Sorted<'_, N>> {
        self.records.sort_unstable();
        self.records.dedup();
        let mut pieces = Vec::with_capacity(self.ends.len() + 1);
        let share = self.records_max * N / (self.ends.len() + 1);
        let read_records = (share.clamp(READ_BYTES_MIN, READ_BYTES_MAX) / N).max(1);
        let mut begin = 0;
        for &end in &self.ends {
            if let Some(file) = &self.file {
                let stored = Stored { file, next: begin, end, read_records, held: Vec::new() };
                pieces.push(Piece::Stored(stored));
            }
            begin = end;
        }
        pieces.push(Piece::Held(self.records.iter()));
        let mut sorted =
            Sorted { folder: &self.folder, pieces, heads: BinaryHeap::new(), last: None };
        for piece in 0..sorted.pieces.len() {
            if let Some(head) = sorted.advance(piece)? {
                sorted.heads.push(Reverse((head, piece)));
            }
        }
        Ok(sorted)
    }

    fn write_out(&mut self) -> io::Result<()> {
        self.records.sort_unstable();
        self.records.dedup();
        if self.file.is_none() {
            self.file = Some(scratch_file(&self.folder)?);
        }
        let begin = self.ends.last().copied().unwrap_or(0);
        let bytes = self.records.as_flattened();
        if let Some(file) = &self.file {
            file.write_all_at(bytes, begin)?;
        }
        self.ends.push(begin + bytes.len() as u64);
        self.records.clear();
        Ok(())
    }

    fn scratch_error(&self, source: io::Error) -> Error {
        Error::Scratch { folder: self.folder.clone(), source }
    }
}

/// What [`Spill::sorted`] gives.
pub(super) struct Sorted<'s, const N: usize> {
    folder: &'s Path,
    pieces: Vec<Piece<'s, N>>,
    /// The next record of each piece.
    heads: BinaryHeap<Reverse<([u8; N], usize)>>,
    last: Option<[u8; N]>,
}

enum Piece<'s, const N: usize> {
    Held(std::slice::Iter<'s, [u8; N]>),
    Stored(Stored<'s, N>),
}

struct Stored<'s, const N: usize> {
    file: &'s File,
    next: u64,
    end: u64,
    read_records: usize,
    /// In the order opposite to the file's.
    held: Vec<[u8; N]>,
}

impl<const N: usize> Stored<'_, N> {
    fn next(&mut self) -> io::Result<Option<[u8; N]>> {
        if self.held.is_empty() && self.next < self.end {
            let left = usize::try_from(self.end - self.next).unwrap_or(usize::MAX);
            self.held.resize((left / N).min(self.read_records), [0; N]);
            let bytes = self.held.as_flattened_mut();
            self.file.read_exact_at(bytes, self.next)?;
            self.next += bytes.len() as u64;
            self.held.reverse();
        }
        Ok(self.held.pop())
    }
}

impl<const N: usize> Sorted<'_, N> {
    /// The next record; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<[u8; N]>> {
        while let Some(Reverse((record, piece))) = self.heads.peek().copied() {
            let following = self.advance(piece)?;
            if let Some(mut head) = self.heads.peek_mut() {
                match following {
                    Some(record) => *head = Reverse((record, piece)),
                    None => drop(PeekMut::pop(head)),
                }
            }
            if self.last != Some(record) {
                self.last = Some(record);
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    fn advance(&mut self, piece: usize) -> Result<Option<[u8; N]>> {
        match &mut self.pieces[piece] {
            Piece::Held(records) => Ok(records.next().copied()),
            Piece::Stored(stored) => stored
                .next()
                .map_err(|source| Error::Scratch { folder: self.folder.to_owned(), source }),
        }
    }
}

/// A file without a name.
pub(super) fn scratch_file(folder: &Path) -> io::Result<File> {
    create_unnamed(folder)?.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::Unsupported,
            format!("the filesystem of {} has no files without a name", folder.display()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<const N: usize>(spill: &mut Spill<N>) -> Vec<[u8; N]> {
        let mut sorted = spill.sorted().unwrap();
        std::iter::from_fn(|| sorted.next().unwrap()).collect()
    }

    #[test]
    fn what_is_written_out_comes_back_sorted_once() {
        let folder = tempfile::tempdir().unwrap();
        for memory_bytes in [0, 100, 20_000, 1 << 20] {
            let mut spill = Spill::<3>::new(folder.path(), memory_bytes);
            let mut expected = Vec::new();
            for round in 0..3_u8 {
                for number in 0..1000_u32 {
                    let [a, b, ..] = (number * 40503).to_le_bytes();
                    for _ in 0..2 {
                        spill.push([a, b, round]).unwrap();
                    }
                    expected.push([a, b, round]);
                }
                expected.sort_unstable();
                expected.dedup();
                // It goes on being filled after it was read.
                assert!(all(&mut spill) == expected, "{memory_bytes}");
            }
            assert!(spill.records.capacity() <= spill.records_max.max(1), "{memory_bytes}");
        }
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }
}
