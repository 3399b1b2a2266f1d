//! Writes to a target that come in small pieces and in no order, put together with their neighbours.

use thinmover_io::{ALIGNMENT, IoFile, PooledBuffer, WriteBehind, crash_point};

use super::StreamError;

/// Neighbouring pieces are merged into writes of up to this many bytes: what a huge page holds.
const WRITE_BYTES: usize = 2 << 20;

/// Runs of neighbours that grow at a time: content that is stored once and belongs to two places
/// comes for both in turn.
const RUNS: usize = 2;

/// Writes in flight while the runs are filled.
const DEPTH: usize = 2;

/// Merges pieces and writes them behind their maker.
pub(super) struct Merge<'a> {
    target: &'a IoFile,
    behind: WriteBehind,
    /// The one that was added to last is the last.
    runs: [Run; RUNS],
    written_bytes: u64,
}

/// Neighbours that are not written yet.
struct Run {
    buffer: PooledBuffer,
    /// Where on the target the buffer's first byte belongs, in bytes.
    offset: u64,
    /// How much of the buffer is to be written, in bytes.
    filled: usize,
}

impl<'a> Merge<'a> {
    /// The most memory it takes for pieces of up to `piece_bytes`, in bytes.
    pub(super) fn memory_bytes(piece_bytes: usize) -> usize {
        (DEPTH + RUNS) * WRITE_BYTES.max(piece_bytes)
    }

    /// Pieces are of up to `piece_bytes`.
    pub(super) fn new(target: &'a IoFile, piece_bytes: usize) -> Self {
        let behind = WriteBehind::new(DEPTH, RUNS, WRITE_BYTES.max(piece_bytes));
        let runs = [(); RUNS].map(|()| Run { buffer: behind.buffer(), offset: 0, filled: 0 });
        Self { target, behind, runs, written_bytes: 0 }
    }

    /// Takes a piece of `length` bytes for `offset` (bytes, aligned as direct writes are) of the target,
    /// which `fill` makes in place. What it does not make well is not written.
    ///
    /// # Errors
    /// That of `fill`, and `Write` of this piece or an earlier one.
    pub(super) fn put(
        &mut self,
        offset: u64,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), StreamError>,
    ) -> Result<(), StreamError> {
        let grows = |run: &Run| {
            run.filled > 0 && run.end() == offset && run.filled + length <= run.buffer.len()
        };
        match self.runs.iter().position(grows) {
            Some(at) => self.runs[at..].rotate_left(1),
            None => {
                self.runs.rotate_left(1);
                self.flush_last()?;
            }
        }
        let [.., run] = &mut self.runs;
        if run.filled == 0 {
            run.offset = offset;
        }
        fill(&mut run.buffer[run.filled..run.filled + length])?;
        run.filled += length;
        if run.filled == run.buffer.len() { self.flush_last() } else { Ok(()) }
    }

    /// Begins to write all that is not yet.
    ///
    /// # Errors
    /// `Write` of an earlier write.
    pub(super) fn flush(&mut self) -> Result<(), StreamError> {
        for _ in 0..RUNS {
            self.runs.rotate_left(1);
            self.flush_last()?;
        }
        Ok(())
    }

    /// Returns once everything is written, though not durable: how many bytes.
    ///
    /// # Errors
    /// `Write`, the first there was.
    pub(super) fn finish(mut self) -> Result<u64, StreamError> {
        self.flush()?;
        self.behind.finish()?;
        Ok(self.written_bytes)
    }

    fn flush_last(&mut self) -> Result<(), StreamError> {
        let [.., run] = &mut self.runs;
        let filled = std::mem::take(&mut run.filled);
        if filled == 0 {
            return Ok(());
        }
        // Only the image's tail can need it; see `Download::padded_end`.
        let room = self.target.size_bytes() - run.offset;
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let length = filled.next_multiple_of(ALIGNMENT).min(room);
        run.buffer[filled..length].fill(0);
        self.behind.write(self.target, &mut run.buffer, length, run.offset)?;
        crash_point("target:write");
        self.written_bytes += length as u64;
        Ok(())
    }
}

impl Run {
    fn end(&self) -> u64 {
        self.offset + self.filled as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;
    use thinmover_io::{AlignedBuffer, DirectFile, IoEngine};

    const PIECE: usize = 256 << 10;

    /// Puts pieces at these places, counted in pieces; the bytes of piece n are n + 1. Returns how
    /// many were not yet written before the end.
    fn put(places: &[u64]) -> usize {
        let file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        file.set_len(64 * PIECE as u64).unwrap();
        let target = DirectFile::new(file.try_clone().unwrap()).unwrap();
        let target = IoEngine::default().open(target).unwrap();
        let mut merge = Merge::new(&target, PIECE);
        for (&place, byte) in places.iter().zip(1..) {
            merge
                .put(place * PIECE as u64, PIECE, |bytes| {
                    bytes.fill(byte);
                    Ok(())
                })
                .unwrap();
        }
        let held: usize = merge.runs.iter().map(|run| run.filled).sum();
        assert_eq!(merge.finish().unwrap(), (places.len() * PIECE) as u64);
        let mut bytes = AlignedBuffer::new(PIECE);
        for (&place, byte) in places.iter().zip(1..) {
            file.read_exact_at(&mut bytes, place * PIECE as u64).unwrap();
            assert!(bytes.iter().all(|&found| found == byte), "{places:?} at {place}");
        }
        held / PIECE
    }

    #[test]
    fn neighbours_are_held_together_until_a_write_is_full() {
        assert_eq!(put(&[3, 4, 5, 6]), 4);
        assert_eq!(put(&[0, 1, 2, 3, 4, 5, 6, 7]), 0);
        assert_eq!(put(&[0, 1, 2, 3, 4, 5, 6, 7, 8]), 1);
        assert_eq!(put(&[]), 0);
    }

    #[test]
    fn two_places_grow_in_turn_and_a_third_ends_the_older_one() {
        assert_eq!(put(&[3, 40, 4, 41, 5, 42]), 6);
        assert_eq!(put(&[3, 4, 40, 50]), 2);
        assert_eq!(put(&[3, 40, 4, 50, 5]), 4);
        assert_eq!(put(&[9, 8, 7, 6]), 2);
    }

    #[test]
    fn what_was_not_made_well_is_not_written() {
        let file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        file.set_len(PIECE as u64).unwrap();
        let target = DirectFile::new(file).unwrap();
        let target = IoEngine::default().open(target).unwrap();
        let mut merge = Merge::new(&target, PIECE);
        merge.put(0, PIECE, |_| Err(StreamError::Lost)).unwrap_err();
        assert_eq!(merge.finish().unwrap(), 0);
    }
}
