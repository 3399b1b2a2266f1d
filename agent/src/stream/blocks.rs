//! Some image blocks of a target, by their numbers: too many to hold, so they are runs that pass by.

use std::io;
use std::ops::Range;

use super::ranges;

/// Runs of block numbers, ascending.
pub(crate) type Runs<'r> = Box<dyn Iterator<Item = ranges::Item> + 'r>;

/// Image blocks that are written. They may reach beyond the image, where the target is to be zeroes.
pub(crate) trait BlockRuns {
    /// All of them; can be asked for again.
    ///
    /// # Errors
    /// When they cannot be had, here or as an item.
    fn runs(&mut self) -> io::Result<Runs<'_>>;
}

/// Takes runs apart, some blocks at a time.
pub(super) struct BlockCursor<'r> {
    runs: Runs<'r>,
    /// What is left of the run that was begun.
    begun: Range<u64>,
}

impl<'r> BlockCursor<'r> {
    pub(super) fn new(runs: Runs<'r>) -> Self {
        Self { runs, begun: 0..0 }
    }

    /// The next blocks, at most `most`; none behind the last.
    pub(super) fn next(&mut self, most: usize) -> io::Result<Vec<u64>> {
        let mut blocks = Vec::new();
        while blocks.len() < most {
            if self.begun.is_empty() {
                let Some(run) = self.runs.next() else { break };
                self.begun = run?;
            }
            blocks.extend(self.begun.by_ref().take(most - blocks.len()));
        }
        Ok(blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_taken_apart_and_an_error_comes_through() {
        let runs = [Ok(1..3), Ok(3..4), Ok(7..12), Err(io::ErrorKind::UnexpectedEof.into())];
        let mut cursor = BlockCursor::new(Box::new(runs.into_iter()));
        assert_eq!(cursor.next(4).unwrap(), [1, 2, 3, 7]);
        assert_eq!(cursor.next(2).unwrap(), [8, 9]);
        assert_eq!(cursor.next(2).unwrap(), [10, 11]);
        cursor.next(1).unwrap_err();
    }
}
