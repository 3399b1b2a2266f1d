//! Who calls, and what they may.

use std::fmt;

use crate::access::{Access, Right, Rights};
use crate::engine::Scope;
use crate::failure::{Code, Failure, Result};
use crate::http::Peer;
use crate::journal::{self, Event, Fields};

/// The process at the other end of the socket, by the kernel's word.
pub(super) struct Caller {
    rights: Rights,
    uid: u32,
    pid: Option<i32>,
    scope: Scope,
}

impl Caller {
    pub(super) fn new(peer: &Peer, access: &Access) -> Self {
        let rights = access.rights(peer.uid, peer.gid, &peer.groups);
        Self { rights, uid: peer.uid, pid: peer.pid, scope: access.scope(rights) }
    }

    /// # Errors
    /// `NotAllowed` unless the caller has `right`; the journal is told.
    pub(super) fn require(&self, right: Right, what: &str) -> Result<()> {
        if self.rights.has(right) {
            return Ok(());
        }
        let name = right.name();
        let failure = Failure::new(
            Code::NotAllowed,
            format!("{what} needs the right `{name}`, which user {} has not", self.uid),
        )
        .hint(format!("run as root, or an administrator grants it in [access.{name}]"));
        let fields = Fields { uid: Some(self.uid), code: Some(failure.code), ..Fields::default() };
        journal::write(Event::AccessDenied, &fields, format!("{self}: {failure}"));
        Err(failure)
    }

    /// What the caller may name as a source or target.
    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(super) fn uid(&self) -> u32 {
        self.uid
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", self.uid)?;
        self.pid.map_or(Ok(()), |pid| write!(f, " (process {pid})"))
    }
}
