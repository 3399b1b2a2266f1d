//! What a domain holds and where, as its index says: the runs that sessions published, those that
//! collection made of them, and what collection has condemned (FORMAT.md, sections 9 and 12).
//!
//! Writers, readers and collection see the index through one [`IndexView`]; whom it may believe what
//! is decided here and nowhere else.

mod generation;
mod lookup;
mod view;

pub(crate) use generation::{CONDEMNED_MAX, CompactedRun, Generation, SETTLED_MAX};
pub(crate) use lookup::{DomainIndex, Located};
pub(crate) use view::{IndexView, RunObject, is_damage, list_containers, list_generations};
