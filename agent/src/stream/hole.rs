//! Telling an image block that holds only zeroes.

/// How much is tested at once: long enough to be vectorised, short enough that a block with data in
/// its first page costs next to nothing.
const STEP_BYTES: usize = 1024;

/// Whether all bytes are zero: such a block is a hole, and holes are never stored.
pub(crate) fn is_hole(bytes: &[u8]) -> bool {
    bytes.chunks(STEP_BYTES).all(|step| step.iter().fold(0, |seen, byte| seen | byte) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_bit_anywhere_makes_it_no_hole() {
        for length in [1, 100, STEP_BYTES, 4 * STEP_BYTES + 3] {
            let mut bytes = vec![0; length];
            assert!(is_hole(&bytes));
            for at in [0, length / 2, length - 1] {
                bytes[at] = 1;
                assert!(!is_hole(&bytes), "length {length}, byte {at}");
                bytes[at] = 0;
            }
        }
    }
}
