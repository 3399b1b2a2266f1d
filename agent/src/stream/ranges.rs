//! Ranges of a source, in bytes: sets of them, ascending and disjoint, that are too long to hold and
//! so pass by once. An error in one passes through and is the end of what is made of it.

use std::io;
use std::iter::{self, Peekable};
use std::ops::Range;

/// A range of a source, or what keeps it from being known.
pub(crate) type Item = io::Result<Range<u64>>;

/// Which of two sets a range is in; never neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Within {
    pub(crate) first: bool,
    pub(crate) second: bool,
}

/// The ranges of `first` and `second`, cut where one of them begins or ends.
pub(crate) fn overlay(
    first: impl Iterator<Item = Item>,
    second: impl Iterator<Item = Item>,
) -> impl Iterator<Item = io::Result<(Range<u64>, Within)>> {
    let (mut first, mut second) = (first.peekable(), second.peekable());
    let mut at = 0;
    iter::from_fn(move || {
        let (one, other) = match (rest(&mut first, at), rest(&mut second, at)) {
            (Err(error), _) | (_, Err(error)) => return Some(Err(error)),
            (Ok(None), Ok(None)) => return None,
            (Ok(one), Ok(other)) => (one, other),
        };
        let starts = [&one, &other].into_iter().flatten().map(|range| range.start);
        let start = starts.min().unwrap_or(at);
        let covers = |range: &Option<Range<u64>>| range.as_ref().is_some_and(|r| r.start == start);
        let within = Within { first: covers(&one), second: covers(&other) };
        let borders = [&one, &other].into_iter().flatten().flat_map(|r| [r.start, r.end]);
        let end = borders.filter(|&border| border > start).min().unwrap_or(start);
        at = end;
        Some(Ok((start..end, within)))
    })
}

/// What is left from `at` on of the next range that does not end before.
fn rest<I: Iterator<Item = Item>>(
    ranges: &mut Peekable<I>,
    at: u64,
) -> io::Result<Option<Range<u64>>> {
    loop {
        match ranges.peek() {
            None => return Ok(None),
            Some(Ok(range)) if range.end > at => {
                return Ok(Some(range.start.max(at)..range.end));
            }
            Some(_) => {
                // Past, or an error, which is only had by taking it.
                if let Some(passed) = ranges.next() {
                    passed?;
                }
            }
        }
    }
}

/// What is in either set.
pub(crate) fn union(
    first: impl Iterator<Item = Item>,
    second: impl Iterator<Item = Item>,
) -> impl Iterator<Item = Item> {
    overlay(first, second).map(|part| part.map(|(range, _)| range))
}

/// What is in `first` and not in `second`.
pub(crate) fn difference(
    first: impl Iterator<Item = Item>,
    second: impl Iterator<Item = Item>,
) -> impl Iterator<Item = Item> {
    overlay(first, second).filter_map(|part| match part {
        Ok((range, Within { first: true, second: false })) => Some(Ok(range)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// The ranges rounded out to units of `unit_bytes` (image blocks, say) of a source of `size_bytes`, and what
/// touches joined. What lies beyond the source's end is left out.
pub(crate) fn rounded(
    mut ranges: impl Iterator<Item = Item>,
    size_bytes: u64,
    unit_bytes: u64,
) -> impl Iterator<Item = Item> {
    let mut pending: Option<Range<u64>> = None;
    let mut failed = None;
    iter::from_fn(move || {
        loop {
            if let Some(error) = failed.take() {
                return Some(Err(error));
            }
            let range = match ranges.next() {
                None => return pending.take().map(Ok),
                Some(Ok(range)) => range,
                Some(Err(error)) => {
                    failed = Some(error);
                    if let Some(range) = pending.take() {
                        return Some(Ok(range));
                    }
                    continue;
                }
            };
            let start = range.start / unit_bytes * unit_bytes;
            let end = range.end.div_ceil(unit_bytes).saturating_mul(unit_bytes).min(size_bytes);
            match &mut pending {
                _ if range.start >= end => {}
                Some(pending) if start <= pending.end => pending.end = pending.end.max(end),
                _ => {
                    if let Some(range) = pending.replace(start..end) {
                        return Some(Ok(range));
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLOCK: u32 = 4096;

    fn ranges(cuts: impl IntoIterator<Item = u64>) -> Vec<Range<u64>> {
        let cuts: Vec<u64> = cuts.into_iter().collect();
        cuts.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect()
    }

    fn items(ranges: &[Range<u64>]) -> impl Iterator<Item = Item> + use<> {
        let ranges: Vec<_> = ranges.iter().cloned().map(Ok).collect();
        ranges.into_iter()
    }

    fn some_ranges(up_to: u64) -> impl Strategy<Value = Vec<Range<u64>>> {
        prop::collection::btree_set(0..up_to, 0..20).prop_map(ranges)
    }

    fn holds(ranges: &[Range<u64>], at: u64) -> bool {
        ranges.iter().any(|range| range.contains(&at))
    }

    fn ascend(ranges: &[Range<u64>]) -> bool {
        ranges.iter().all(|range| range.start < range.end)
            && ranges.windows(2).all(|pair| pair[0].end <= pair[1].start)
    }

    fn taken(ranges: impl Iterator<Item = Item>) -> Vec<Range<u64>> {
        ranges.map(Result::unwrap).collect()
    }

    #[test]
    fn an_error_passes_through() {
        let some = || std::iter::once(Ok(2..9));
        let lost = || [Ok(0..5), Err(io::ErrorKind::UnexpectedEof.into())].into_iter();
        let fails = |mut made: Box<dyn Iterator<Item = Item>>| made.any(|item| item.is_err());
        assert!(fails(Box::new(union(lost(), some()))));
        assert!(fails(Box::new(union(some(), lost()))));
        assert!(fails(Box::new(difference(some(), lost()))));
        let mut rounded = rounded(lost(), 1 << 20, BLOCK.into());
        assert_eq!(rounded.next().unwrap().unwrap(), 0..4096);
        assert!(rounded.next().unwrap().is_err());
    }

    proptest! {
        #[test]
        fn sets_are_what_a_byte_by_byte_look_says(
            first in some_ranges(200), second in some_ranges(200),
        ) {
            let both = taken(union(items(&first), items(&second)));
            let left = taken(difference(items(&first), items(&second)));
            prop_assert!(ascend(&both) && ascend(&left));
            for at in 0..200 {
                let (one, other) = (holds(&first, at), holds(&second, at));
                prop_assert_eq!(holds(&both, at), one || other, "{}", at);
                prop_assert_eq!(holds(&left, at), one && !other, "{}", at);
            }
        }

        #[test]
        fn every_block_that_a_range_touches_is_in_the_rounded_set_and_no_other_is(
            ranges in some_ranges(300_000), size in 0_u64..300_000,
        ) {
            let made = taken(rounded(items(&ranges), size, BLOCK.into()));
            prop_assert!(ascend(&made));
            prop_assert!(made.windows(2).all(|pair| pair[0].end < pair[1].start));
            for block in 0..size.div_ceil(u64::from(BLOCK)) {
                let block = block * u64::from(BLOCK)..((block + 1) * u64::from(BLOCK)).min(size);
                let touched = |r: &Range<u64>| r.start < block.end && block.start < r.end;
                let is_touched = ranges.iter().any(touched);
                let whole = made.iter().any(|r| r.start <= block.start && block.end <= r.end);
                prop_assert_eq!(whole, is_touched, "{:?}", block);
                prop_assert_eq!(made.iter().any(touched), is_touched, "{:?}", block);
            }
        }
    }
}
