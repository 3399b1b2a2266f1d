//! Guests that lose their power: the host cuts it at a chosen moment and boots again on the same disks.
//!
//! These run on the host, as nothing inside a guest can pull its plug. What a cut loses, and what it
//! does not, stands at `thinmover_tests::guest::Disk`.

mod agent;
mod harness;
mod host;
mod uploads;
