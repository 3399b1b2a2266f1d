//! Running other programs: LVM's tools, `dmsetup` and `udevadm`.
//!
//! By argument vector only, never through a shell, with an environment of our own, bounded output
//! and a time limit. LVM commands run one at a time on the whole host ([`lvm`]). Each
//! program's arguments are built in one file: [`lvm`], [`dmsetup`], [`udevadm`].

mod dmsetup;
mod lvm;
mod run;
mod udevadm;

pub(crate) use dmsetup::{DmPoolMessage, DmPoolMode, DmThinPool, Dmsetup};
pub(crate) use lvm::LvmCommands;
pub use run::CommandError;
pub(crate) use udevadm::settle;
