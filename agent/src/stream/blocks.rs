//! Some image blocks of a target, by their numbers: too many to hold, so they are runs that pass by.

use std::io;
use std::ops::Range;

use super::ranges;

/// Blocks whose ids stand in one node of an image's tree (FORMAT.md, section 10).
const NODE_BLOCKS: u64 = 128;
/// The most nodes that blocks taken together are in: each is 4 KiB, and twice that while it is read.
const NODES_MAX: usize = 512;

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

    /// The next blocks, at most `most` and fewer where they are far apart; none behind the last.
    pub(super) fn next(&mut self, most: usize) -> io::Result<Vec<u64>> {
        let mut blocks = Vec::new();
        let (mut nodes, mut last_node) = (0, None);
        while blocks.len() < most {
            if self.begun.is_empty() {
                let Some(run) = self.runs.next() else { break };
                self.begun = run?;
                continue;
            }
            let node = self.begun.start / NODE_BLOCKS;
            if last_node != Some(node) {
                if nodes == NODES_MAX {
                    break;
                }
                (nodes, last_node) = (nodes + 1, Some(node));
            }
            let in_node = usize::try_from((node + 1) * NODE_BLOCKS - self.begun.start);
            let count = (most - blocks.len()).min(in_node.unwrap_or(usize::MAX));
            blocks.extend(self.begun.by_ref().take(count));
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

    #[test]
    fn blocks_that_are_far_apart_are_fewer_at_a_time() {
        let far = |n: u64| Ok(n * NODE_BLOCKS + 5..n * NODE_BLOCKS + 7);
        let mut cursor = BlockCursor::new(Box::new((0..2000).map(far)));
        let mut all = Vec::new();
        loop {
            let blocks = cursor.next(10_000).unwrap();
            if blocks.is_empty() {
                break;
            }
            assert!(blocks.len() <= 2 * NODES_MAX);
            all.extend(blocks);
        }
        assert_eq!(all.len(), 4000);
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
        let mut near = BlockCursor::new(Box::new(std::iter::once(Ok(3..100_000))));
        assert_eq!(near.next(16_384).unwrap().len(), 16_384);
    }
}
