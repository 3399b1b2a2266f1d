//! Collection: takes out of a domain what no live backup reaches, stops no writer and takes no lock
//! (FORMAT.md, section 13, with the proof that no listed backup loses a block).
//!
//! [`maintain`] is all of it. [`run`] is the order of the steps G1 to G6, on which everything rests;
//! [`walk`] reads what is live, [`writers`] waits and fences, [`removal`] deletes, [`repack`] stores anew
//! what keeps much that is dead. What may go is decided by pure functions in [`plan`] and by [`needs`]; the
//! other modules list, sort, read and write.

mod compact;
mod holdings;
mod maintain;
mod needs;
mod nodes;
mod plan;
mod reach;
mod removal;
mod repack;
mod report;
mod run;
mod spill;
mod survey;
#[cfg(test)]
mod tests;
mod walk;
mod writers;

pub(crate) use maintain::maintain;
pub(crate) use repack::VOLUME as REPACKED;
pub use report::{
    Collected, CollectionEnd, MaintainOptions, MaintainProgress, MaintainReport, RepackLimits,
};
