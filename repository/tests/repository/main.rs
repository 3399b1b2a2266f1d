//! The repository as its users see it: through the public interface, on a real directory, in
//! buckets of real servers, and on stores that record, fail and flip bits. One file for each promise.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test that meets the unexpected fails; lengths here are those of small volumes"
)]

mod support;

mod bucket;
mod collection;
mod conformance;
mod damage;
mod deduplication;
mod faults;
mod fixture;
mod giving_up;
mod holds;
mod incremental;
mod init_and_open;
mod listing;
mod mapped;
mod protocol;
mod repacking;
mod requests;
mod rights;
mod round_trip;
