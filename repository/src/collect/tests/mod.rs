//! The commit protocol, driven request by request: production code of uploads, deletions, restores and
//! collections in any order, over a store whose requests fail, lose their answers, arrive late, and
//! whose listings are not of one moment.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test that meets the unexpected fails"
)]

mod actors;
mod faults;
mod large;
mod scale;
mod schedules;
mod stage;
mod traces;
mod world;
