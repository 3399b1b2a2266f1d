//! The agent as a service of systemd: its listening socket, the lock that there is one agent only,
//! and what the service manager is told.
//!
//! Each part works without systemd as well: then the agent binds its own socket and tells nobody.

mod failures;
mod listener;
mod lock;
mod memory;
mod notify;
mod run;

#[cfg(test)]
mod testing;

pub(crate) use run::run;
