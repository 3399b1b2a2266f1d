//! The test guest: a small Debian machine with Debian's own kernel, LVM and systemd under qemu.
//!
//! [`Guest::boot`] starts it from a root image that is built once and cached ([`image`]); commands
//! run in it as root, their output and exit status come back over virtio ports. The harness can cut
//! the power ([`Guest::cut_power`]) and boot again on the same disks.
//!
//! Promises: runs side by side do not disturb each other; a guest that does not boot, panics or
//! runs out of time is an error that carries the tail of its console, never a skip; no qemu
//! outlives the thread that booted it.
//!
//! Nothing here knows what thinmover does; it only knows how its build is installed
//! ([`crate::workspace::install_release`]).

mod accelerator;
pub mod image;
mod machine;
mod payload;
mod qemu;

pub use image::Suite;
pub use machine::{Event, Guest, Output};
pub use payload::Payload;
pub use qemu::{Disk, Machine, Root};
