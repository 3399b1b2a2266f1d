//! What a job gets from whoever runs it, and tells back.

use std::collections::BTreeSet;

use crate::failure::{Code, Failure, Result};
use crate::stream::{Cancel, Progress};

/// One job's surroundings: the same under `--standalone` and in the agent.
pub(crate) struct Context<'a> {
    /// The job's id; it stands in the records of what the job makes on this host.
    pub(crate) id: String,
    pub(crate) scope: Scope,
    pub(crate) progress: Progress,
    pub(crate) cancel: Cancel,
    /// Called before the job goes past a milestone; an error ends the job.
    pub(crate) reached: &'a (dyn Fn(Milestone) -> Result<()> + Sync),
}

impl Context<'_> {
    /// What a job failed by: that it was canceled, where it was, since its requests were then given up;
    /// unless it may have been done all the same.
    pub(super) fn cause(&self, failure: Failure) -> Failure {
        match self.cancel.check() {
            Err(canceled)
                if !matches!(failure.code, Code::Canceled | Code::Guard | Code::InDoubt) =>
            {
                canceled.into()
            }
            _ => failure,
        }
    }
}

/// A point of no return in a job, to be on record before what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Milestone {
    /// What is read from, or written to, is there and held.
    Prepared,
    /// Data begins to move.
    InProgress,
}

/// What a job may name as its source or target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Every volume and every path.
    Everything,
    /// Volumes in these groups, and no path.
    Groups(BTreeSet<String>),
}

impl Scope {
    /// # Errors
    /// `NotAllowed` for a path, unless everything is allowed.
    pub(super) fn check_path(&self, path: &str) -> Result<()> {
        match self {
            Self::Everything => Ok(()),
            Self::Groups(_) => Err(Failure::new(
                Code::NotAllowed,
                format!("{path} is a path; only callers with the right `admin` may name one"),
            )
            .hint("name a logical volume, as VG/LV or by its UUID")),
        }
    }

    /// # Errors
    /// `NotAllowed` for a volume group that is not listed.
    pub(crate) fn check_group(&self, group: &str) -> Result<()> {
        match self {
            Self::Groups(groups) if !groups.contains(group) => Err(Failure::new(
                Code::NotAllowed,
                format!("volume group {group} is not open to this caller"),
            )
            .hint("an administrator lists it in `access.volume_groups` of the configuration")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_of_groups_holds_no_path_and_no_other_group() {
        let scope = Scope::Groups(["vg0".to_owned()].into());
        assert!(scope.check_group("vg0").is_ok());
        assert_eq!(scope.check_group("vg1").unwrap_err().code, Code::NotAllowed);
        assert_eq!(scope.check_path("/srv/image").unwrap_err().code, Code::NotAllowed);
        assert!(Scope::Everything.check_path("/srv/image").is_ok());
    }
}
