//! Data to measure with: alike on every host, so that figures can be compared.

/// As an upload has by default, in bytes.
pub(super) const BLOCK_BYTES: usize = 256 << 10;
/// More than a processor's caches hold, so that memory counts as it does in an upload.
const BLOCKS: usize = 64;

/// Blocks that no compression makes smaller.
pub(super) fn random() -> Vec<Vec<u8>> {
    let mut state = 1;
    (0..BLOCKS)
        .map(|_| {
            let words = (0..BLOCK_BYTES / 8).flat_map(|_| next(&mut state).to_le_bytes());
            words.collect()
        })
        .collect()
}

/// Blocks of lines as services log them.
pub(super) fn text() -> Vec<Vec<u8>> {
    let mut state = 2;
    let mut second = 1_700_000_000;
    (0..BLOCKS)
        .map(|_| {
            let mut block = Vec::with_capacity(BLOCK_BYTES + 128);
            while block.len() < BLOCK_BYTES {
                let drawn = next(&mut state);
                second += drawn % 3;
                let (process, request) = (drawn >> 8 & 0x3ff, drawn >> 20 & 0xff_ffff);
                let path = drawn >> 44 & 0x3f;
                let status = if drawn.is_multiple_of(17) { 404 } else { 200 };
                block.extend_from_slice(
                    format!(
                        "{second} host app[{process}]: level=info request={request:06x} \
                         path=/api/v1/items/{path} status={status} took={}ms\n",
                        request % 300
                    )
                    .as_bytes(),
                );
            }
            block.truncate(BLOCK_BYTES);
            block
        })
        .collect()
}

/// xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators").
fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}
