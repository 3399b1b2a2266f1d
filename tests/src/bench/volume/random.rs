//! Random numbers that are the same on every machine and with every version of every library.

/// The output stream of BLAKE3 for a seed, what it is for, and an index.
pub(in crate::bench) struct Random {
    stream: blake3::OutputReader,
    ahead: [u8; 4096],
    used: usize,
}

impl Random {
    /// Streams that differ in one of the three have nothing in common.
    pub(in crate::bench) fn new(seed: u64, purpose: &str, index: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(&index.to_le_bytes());
        hasher.update(purpose.as_bytes());
        let ahead = [0; 4096];
        Self { stream: hasher.finalize_xof(), ahead, used: ahead.len() }
    }

    /// Fills `bytes`; not to be mixed with numbers drawn from the same stream.
    pub(in crate::bench) fn fill(&mut self, bytes: &mut [u8]) {
        self.stream.fill(bytes);
    }

    pub(in crate::bench) fn number(&mut self) -> u64 {
        if self.used == self.ahead.len() {
            self.stream.fill(&mut self.ahead);
            self.used = 0;
        }
        let mut number = [0; 8];
        number.copy_from_slice(&self.ahead[self.used..self.used + 8]);
        self.used += 8;
        u64::from_le_bytes(number)
    }

    /// A number below `bound`, which is not 0. The bias is that of 64 bits, which nobody sees.
    pub(in crate::bench) fn below(&mut self, bound: usize) -> usize {
        let product = u128::from(self.number()) * bound as u128;
        usize::try_from(product >> 64).unwrap_or(0)
    }

    /// One of `choices`, which are not none.
    pub(in crate::bench) fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_below_it() {
        let mut random = Random::new(1, "test", 0);
        let mut seen = [0; 7];
        (0..7000).for_each(|_| seen[random.below(7)] += 1);
        assert!(seen.iter().all(|&count| (800..1200).contains(&count)), "{seen:?}");
    }

    #[test]
    fn streams_of_another_seed_purpose_or_index_differ() {
        let first = |seed, purpose, index| Random::new(seed, purpose, index).number();
        let all = [first(1, "a", 1), first(2, "a", 1), first(1, "b", 1), first(1, "a", 2)];
        assert!(all.iter().enumerate().all(|(at, number)| !all[..at].contains(number)));
        assert_eq!(all[0], first(1, "a", 1));
    }
}
