//! `cargo guest`: runs a command in the test guest.

fn main() {}
