//! dm-thin's metadata, every block of it with the right checksum, read in every way.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    thinmover_lvm::dm_thin::fuzzing::read_all(input);
});
