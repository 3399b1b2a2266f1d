//! How often tests that repeat something do so.

/// Names the factor by which a long run repeats more.
pub const ROUNDS: &str = "THINMOVER_TEST_ROUNDS";

/// `THINMOVER_TEST_ROUNDS` times as many rounds as `few`, the count of an ordinary run.
pub fn rounds(few: u32) -> u32 {
    let factor = std::env::var(ROUNDS).ok().and_then(|text| text.parse().ok());
    few * factor.unwrap_or(1)
}
