//! What this host can do, step by step: the limits of an upload and a restore, measured with the code
//! and the libraries that these use.
//!
//! It knows no volume and no repository; it prints nothing.

mod disk;
mod processor;
mod sample;

use std::time::Duration;

use serde::Serialize;

pub(crate) use disk::disk;
pub(crate) use processor::{compression, encryption, hashing};

/// How long a step is measured, at least.
const SPAN: Duration = Duration::from_millis(500);

fn per_second(bytes: u64, elapsed: Duration) -> u64 {
    let speed = u128::from(bytes) * 1_000_000_000 / elapsed.as_nanos().max(1);
    u64::try_from(speed).unwrap_or(u64::MAX)
}

/// The speed of one step.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figure {
    /// What was measured: `hashing`, `encryption`, `compression` or `io`.
    pub(crate) benchmark: &'static str,
    /// Of what, e.g. `aes-256-gcm`.
    pub(crate) name: String,
    /// Of the plaintext, on one processor core or with as much in flight as an upload has.
    pub(crate) bytes_per_second: u64,
    /// Plaintext to stored bytes, where that says something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
}
