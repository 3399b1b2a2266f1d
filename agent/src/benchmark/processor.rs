//! What one processor core can do.

use std::time::Instant;

use thinmover_repository::Encryption;
use thinmover_repository::benchmark::Step;

use super::{Figure, SPAN, per_second, sample};
use crate::failure::Result;

/// zstd's levels worth choosing between: the one that is used, and the next.
const LEVELS: [i32; 2] = [1, 3];

/// How fast ids are computed.
pub(crate) fn hashing() -> Result<Vec<Figure>> {
    let (speed, _) = measure(Step::hashing(sample::random()))?;
    Ok(vec![figure("hashing", "blake3".into(), speed, None)])
}

/// How fast blocks are sealed.
pub(crate) fn encryption() -> Result<Vec<Figure>> {
    let ciphers = [Encryption::Aes256Gcm, Encryption::ChaCha20Poly1305];
    let measured = ciphers.into_iter().map(|cipher| {
        let (speed, _) = measure(Step::encryption(cipher, sample::random())?)?;
        Ok(figure("encryption", cipher.to_string(), speed, None))
    });
    measured.collect()
}

/// How fast blocks become smaller, and whole again.
pub(crate) fn compression() -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (what, blocks) in [("text", sample::text()), ("random bytes", sample::random())] {
        for level in LEVELS {
            let (speed, ratio) = measure(Step::compression(level, blocks.clone())?)?;
            let name = format!("zstd {level}, {what}");
            figures.push(figure("compression", name, speed, Some(ratio)));
        }
    }
    let (speed, ratio) = measure(Step::decompression(LEVELS[0], &sample::text())?)?;
    figures.push(figure("compression", "zstd back, text".into(), speed, Some(ratio)));
    Ok(figures)
}

fn figure(benchmark: &'static str, name: String, speed: u64, ratio: Option<f64>) -> Figure {
    Figure { benchmark, name, bytes_per_second: speed, ratio }
}

/// Bytes of plaintext a second, and plaintext to stored bytes.
fn measure(mut step: Step) -> Result<(u64, f64)> {
    // The first time around warms up caches and buffers.
    for _ in 0..8 {
        step.run()?;
    }
    let (mut plain, mut stored) = (0_u64, 0_u64);
    let started = Instant::now();
    while started.elapsed() < SPAN {
        let done = step.run()?;
        plain += done.plain_bytes as u64;
        stored += done.stored_bytes as u64;
    }
    Ok((per_second(plain, started.elapsed()), plain as f64 / stored.max(1) as f64))
}
