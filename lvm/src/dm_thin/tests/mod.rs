//! Trees of every shape against a plain map, and everything that can be wrong with them.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test that meets the unexpected fails; numbers here are those of small pools"
)]

mod answers;
mod damage;
mod held_root;
pub(crate) mod image;
mod sharing;
