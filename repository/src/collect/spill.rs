//! More records than memory holds: sorted into 256 buckets by their first byte, which in files
//! without a name once they take too much.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use thinmover_io::create_unnamed;

use crate::error::{Error, Result};

const BUCKETS: usize = 256;

/// Records of `N` bytes whose first byte is spread evenly.
#[derive(Debug)]
pub(super) struct Spill<const N: usize> {
    folder: PathBuf,
    memory_bytes: usize,
    held_bytes: usize,
    buckets: Vec<Bucket<N>>,
}

#[derive(Debug, Default)]
struct Bucket<const N: usize> {
    records: Vec<[u8; N]>,
    file: Option<File>,
}

impl<const N: usize> Spill<N> {
    /// An empty collection that holds about `memory_bytes` in memory and the rest in `folder`.
    pub(super) fn new(folder: &Path, memory_bytes: usize) -> Self {
        let buckets = (0..BUCKETS).map(|_| Bucket { records: Vec::new(), file: None }).collect();
        Self { folder: folder.to_owned(), memory_bytes, held_bytes: 0, buckets }
    }

    pub(super) fn push(&mut self, record: [u8; N]) -> Result<()> {
        let bucket = record.first().map_or(0, |&byte| usize::from(byte));
        self.buckets[bucket].records.push(record);
        self.held_bytes += N;
        if self.held_bytes > self.memory_bytes {
            self.write_out().map_err(scratch_error(&self.folder))?;
        }
        Ok(())
    }

    /// The records of each bucket, sorted and without doubles; buckets in the order of their bytes.
    pub(super) fn buckets(&mut self) -> impl Iterator<Item = Result<Vec<[u8; N]>>> {
        let folder = &self.folder;
        self.buckets.iter_mut().map(move |bucket| {
            let mut records = bucket.read().map_err(scratch_error(folder))?;
            records.sort_unstable();
            records.dedup();
            Ok(records)
        })
    }

    fn write_out(&mut self) -> io::Result<()> {
        for bucket in self.buckets.iter_mut().filter(|bucket| !bucket.records.is_empty()) {
            if bucket.file.is_none() {
                bucket.file = Some(scratch_file(&self.folder)?);
            }
            if let Some(file) = &mut bucket.file {
                file.seek(SeekFrom::End(0))?;
                file.write_all(bucket.records.as_flattened())?;
            }
            bucket.records = Vec::new();
        }
        self.held_bytes = 0;
        Ok(())
    }
}

impl<const N: usize> Bucket<N> {
    fn read(&mut self) -> io::Result<Vec<[u8; N]>> {
        let mut records = self.records.clone();
        if let Some(file) = &mut self.file {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(0))?;
            file.read_to_end(&mut bytes)?;
            records.extend(bytes.as_chunks::<N>().0);
        }
        Ok(records)
    }
}

fn scratch_error(folder: &Path) -> impl Fn(io::Error) -> Error {
    let folder = folder.to_owned();
    move |source| Error::Scratch { folder: folder.clone(), source }
}

fn scratch_file(folder: &Path) -> io::Result<File> {
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

    #[test]
    fn what_is_written_out_comes_back_sorted_once() {
        let folder = tempfile::tempdir().unwrap();
        for memory_bytes in [0, 100, 1 << 20] {
            let mut spill = Spill::<3>::new(folder.path(), memory_bytes);
            let mut expected = Vec::new();
            for number in 0..1000_u32 {
                let [a, b, ..] = (number * 40503).to_le_bytes();
                for _ in 0..2 {
                    spill.push([a, b, 7]).unwrap();
                }
                expected.push([a, b, 7]);
            }
            expected.sort_unstable();
            expected.dedup();
            for _ in 0..2 {
                let found: Vec<_> = spill.buckets().flat_map(Result::unwrap).collect();
                assert!(found == expected, "{memory_bytes}");
            }
        }
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }
}
