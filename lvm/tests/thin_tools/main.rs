//! thinmover's reading of dm-thin's metadata against that of thin-provisioning-tools, on metadata
//! made by `thin_restore` and by a kernel.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test that meets the unexpected fails; numbers here are those of small pools"
)]

mod agreement;
mod kernel;
mod ours;
mod pool;
mod tools;
