//! Which chunks of a volume are in some set: numbers in ascending order, kept as runs. A list is in
//! memory while it is short, else in a file without a name, so that memory does not grow with the
//! volume, and nothing is left when the process dies.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::ops::Range;
use std::path::Path;

use tempfile::SpooledTempFile;

/// How long a list may be in memory, in bytes: about half a million runs.
const MEMORY_BYTES: usize = 1 << 20;
/// The longest LEB128 form of 64 bits.
const VARINT_BYTES_MAX: usize = 10;

/// A list that is being made.
#[derive(Debug)]
pub(crate) struct ChunkListWriter {
    out: BufWriter<SpooledTempFile>,
    /// The run that the next chunk may belong to; empty before the first.
    run: Range<u64>,
    /// Where the run before it ended.
    written_to: u64,
    chunks: u64,
}

/// A list of chunks.
#[derive(Debug)]
pub struct ChunkList {
    file: SpooledTempFile,
    chunks: u64,
}

impl ChunkListWriter {
    /// An empty list. A long one goes to a file in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        let file = tempfile::spooled_tempfile_in(MEMORY_BYTES, folder);
        Self { out: BufWriter::new(file), run: 0..0, written_to: 0, chunks: 0 }
    }

    /// Adds a chunk, which comes after all that were added.
    pub(crate) fn push(&mut self, chunk: u64) -> io::Result<()> {
        self.push_run(chunk..chunk + 1)
    }

    /// Adds chunks side by side, which come after all that were added.
    fn push_run(&mut self, run: Range<u64>) -> io::Result<()> {
        self.chunks += run.end - run.start;
        if self.run.is_empty() || run.start != self.run.end {
            self.flush_run()?;
            self.run.start = run.start;
        }
        self.run.end = run.end;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> io::Result<ChunkList> {
        self.flush_run()?;
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(ChunkList { file, chunks: self.chunks })
    }

    fn flush_run(&mut self) -> io::Result<()> {
        let Range { start, end } = self.run;
        if start < end {
            write_varint(&mut self.out, start - self.written_to)?;
            write_varint(&mut self.out, end - start)?;
            self.written_to = end;
        }
        Ok(())
    }
}

impl ChunkList {
    /// The list of the chunks in `runs`, which ascend. A long one goes to a file in `folder`.
    ///
    /// # Errors
    /// The first of `runs`, and when the list cannot be kept.
    pub fn collect(
        folder: &Path,
        mut runs: impl Iterator<Item = io::Result<Range<u64>>>,
    ) -> io::Result<Self> {
        let mut writer = ChunkListWriter::new(folder);
        runs.try_for_each(|run| writer.push_run(run?))?;
        writer.finish()
    }

    /// How many chunks it holds.
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// The runs of chunks in ascending order: not empty, and not touching each other.
    ///
    /// # Errors
    /// When the list cannot be read back, here or as the last item.
    pub fn runs(&mut self) -> io::Result<impl Iterator<Item = io::Result<Range<u64>>> + '_> {
        self.file.rewind()?;
        Ok(Runs { from: BufReader::new(&mut self.file), at: 0, ended: false })
    }
}

struct Runs<R> {
    from: BufReader<R>,
    at: u64,
    ended: bool,
}

impl<R: Read> Runs<R> {
    fn step(&mut self) -> io::Result<Option<Range<u64>>> {
        if self.from.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let (gap, length) = (read_varint(&mut self.from)?, read_varint(&mut self.from)?);
        let start = self.at.checked_add(gap);
        let run = start.and_then(|start| Some(start..start.checked_add(length)?));
        let run = run.ok_or(io::ErrorKind::InvalidData)?;
        self.at = run.end;
        Ok(Some(run))
    }
}

impl<R: Read> Iterator for Runs<R> {
    type Item = io::Result<Range<u64>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.step().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// LEB128: seven bits a byte, the lowest first, the high bit set on all but the last.
fn write_varint(out: &mut impl Write, mut number: u64) -> io::Result<()> {
    let mut bytes = [0; VARINT_BYTES_MAX];
    let mut length = 0;
    loop {
        let low = number.to_le_bytes()[0] & 0x7f;
        number >>= 7;
        bytes[length] = if number == 0 { low } else { low | 0x80 };
        length += 1;
        if number == 0 {
            return out.write_all(&bytes[..length]);
        }
    }
}

fn read_varint(from: &mut impl Read) -> io::Result<u64> {
    let mut number = 0;
    for index in 0..VARINT_BYTES_MAX {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        number |= u64::from(byte[0] & 0x7f) << (7 * index);
        if byte[0] & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn list(folder: &Path, chunks: impl IntoIterator<Item = u64>) -> ChunkList {
        let mut writer = ChunkListWriter::new(folder);
        chunks.into_iter().for_each(|chunk| writer.push(chunk).unwrap());
        writer.finish().unwrap()
    }

    fn runs(list: &mut ChunkList) -> Vec<Range<u64>> {
        list.runs().unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn a_long_list_lies_in_a_file_without_a_name_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let count = 600_000;
        let mut list = list(folder.path(), (0..count).map(|n| 3 * n));
        assert!(list.file.is_rolled());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(list.chunks(), count);
        let mut at = (0..count).map(|n| 3 * n..3 * n + 1);
        assert!(list.runs().unwrap().all(|run| Some(run.unwrap()) == at.next()));
        assert_eq!(at.next(), None);
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut writer = ChunkListWriter::new(Path::new("/nonexistent"));
        let failed = (0..2_000_000).find_map(|n| writer.push(2 * n).err());
        assert_eq!(failed.unwrap().kind(), io::ErrorKind::NotFound);
    }

    proptest! {
        #[test]
        fn what_was_pushed_comes_back_in_runs(
            chunks in prop::collection::btree_set(prop_oneof![0_u64..300, any::<u64>()], 0..200),
        ) {
            let chunks: BTreeSet<u64> = chunks.into_iter().filter(|&n| n < u64::MAX).collect();
            let folder = tempfile::tempdir().unwrap();
            let mut list = list(folder.path(), chunks.iter().copied());
            for _ in 0..2 {
                let runs = runs(&mut list);
                prop_assert!(runs.windows(2).all(|pair| pair[0].end < pair[1].start));
                let back: BTreeSet<u64> = runs.into_iter().flatten().collect();
                prop_assert_eq!(&back, &chunks);
            }
            prop_assert_eq!(list.chunks(), chunks.len() as u64);
        }

        #[test]
        fn no_bytes_make_reading_back_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let runs = Runs { from: BufReader::new(bytes.as_slice()), at: 0, ended: false };
            runs.take(100).for_each(drop);
        }
    }
}
