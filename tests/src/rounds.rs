//! How often tests that repeat something do so.

/// Names the factor by which a long run repeats more.
pub const ROUNDS: &str = "THINMOVER_TEST_ROUNDS";

/// `usual` rounds, in a long run [`ROUNDS`] times as many.
pub fn rounds(usual: u32) -> u32 {
    let factor = std::env::var(ROUNDS).ok().and_then(|text| text.parse().ok());
    usual * factor.unwrap_or(1)
}
