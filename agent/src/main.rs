//! The thinmover binary.

fn main() {}
