//! The test guest and the fixtures the loop-device tests share.
//!
//! `guest` boots a small Debian machine with real LVM under qemu and runs commands in it; it knows
//! nothing of thinmover but how its build is installed. `workspace` finds and builds what the
//! workspace makes.

pub mod guest;
pub mod workspace;
