//! The test guest, the fixtures the loop-device tests share, and the benchmark.
//!
//! - [`guest`] boots a small Debian machine with real LVM under qemu and runs commands in it; it knows
//!   nothing of thinmover but how its build is installed.
//! - [`loop_devices`] runs a test executable's trials here or, without device-mapper, in the guest.
//! - [`fixtures`] are thin pools, volumes in use, the binary, and pictures of the host.
//! - [`workspace`] finds and builds what the workspace makes.
//! - [`bench`] measures this product and its peers side by side.
//!
//! The tests themselves are in `tests/`: `loop_devices` (a module per area), `power_cut` (guests that
//! lose their power) and `guest_command` (the contract of `cargo guest run`).

pub mod bench;
pub mod fixtures;
pub mod guest;
pub mod loop_devices;
pub mod workspace;
