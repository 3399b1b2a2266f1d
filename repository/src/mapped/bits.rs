//! Runs of bits in bytes, the least significant bit of a byte first.

use std::ops::Range;

/// Sets the bits of `run`, which lies in `bytes`.
pub(super) fn set(bytes: &mut [u8], run: Range<usize>) {
    if run.is_empty() {
        return;
    }
    let (first, last) = (run.start / 8, (run.end - 1) / 8);
    let (head, tail) = (0xff << (run.start % 8), 0xff >> (7 - (run.end - 1) % 8));
    if first == last {
        bytes[first] |= head & tail;
    } else {
        bytes[first] |= head;
        bytes[first + 1..last].fill(0xff);
        bytes[last] |= tail;
    }
}

/// The first run of ones at or behind bit `from`.
pub(super) fn next_run(bytes: &[u8], from: usize) -> Option<Range<usize>> {
    let start = find(bytes, 0, from)?;
    let end = find(bytes, u64::MAX, start).unwrap_or(bytes.len() * 8);
    Some(start..end)
}

/// The first bit at or behind `from` that differs from those of `same`.
fn find(bytes: &[u8], same: u64, from: usize) -> Option<usize> {
    let mut at = from;
    while at < bytes.len() * 8 {
        let word = (word(bytes, at / 64) ^ same) >> (at % 64);
        if word != 0 {
            let found = at + word.trailing_zeros() as usize;
            return (found < bytes.len() * 8).then_some(found);
        }
        at = (at / 64 + 1) * 64;
    }
    None
}

/// Bits 64 × `index` and following, zeroes behind the end.
fn word(bytes: &[u8], index: usize) -> u64 {
    let rest = &bytes[index * 8..];
    let mut word = [0; 8];
    let length = rest.len().min(8);
    word[..length].copy_from_slice(&rest[..length]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits(bytes: &[u8]) -> Vec<bool> {
        (0..bytes.len() * 8).map(|bit| bytes[bit / 8] >> (bit % 8) & 1 == 1).collect()
    }

    proptest! {
        #[test]
        fn a_run_sets_its_bits_and_no_other(
            mut bytes in proptest::collection::vec(any::<u8>(), 1..30), a: usize, b: usize,
        ) {
            let [a, b] = [a, b].map(|bit| bit % (bytes.len() * 8 + 1));
            let run = a.min(b)..a.max(b);
            let mut expected = bits(&bytes);
            expected[run.clone()].fill(true);
            set(&mut bytes, run);
            prop_assert_eq!(bits(&bytes), expected);
        }

        #[test]
        fn the_runs_found_are_the_ones(
            // Long runs as well as short ones.
            bytes in proptest::collection::vec(
                prop_oneof![Just(0), Just(0xff), any::<u8>()], 0..40,
            ),
        ) {
            let (mut found, mut at) = (vec![false; bytes.len() * 8], 0);
            while let Some(run) = next_run(&bytes, at) {
                prop_assert!(at == 0 || run.start > at, "two runs touch");
                at = run.end;
                found[run].fill(true);
            }
            prop_assert_eq!(found, bits(&bytes));
        }
    }
}
