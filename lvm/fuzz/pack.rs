//! Turns a metadata file into an input of the fuzz target: `pack <METADATA >INPUT`.

use std::io::{self, Read, Write};

use thinmover_lvm::dm_thin::fuzzing::pack;

fn main() -> io::Result<()> {
    let mut image = Vec::new();
    io::stdin().read_to_end(&mut image)?;
    io::stdout().write_all(&pack(&image))
}
