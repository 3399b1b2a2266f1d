//! Ending a job from outside.

use std::sync::{Arc, OnceLock};

use thinmover_repository::GiveUp;

/// Shared by everything that works for one job; whoever must end the job says why, once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancel {
    reason: Arc<OnceLock<Canceled>>,
    give_up: GiveUp,
}

/// Why a job was ended before it was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Canceled {
    #[error("canceled by {by}")]
    Asked {
        /// Who asked, e.g. a signal's name.
        by: String,
    },
    #[error("canceled because its operation timeout is over")]
    Overdue,
    #[error("ended to protect the thin pool: {reason}")]
    PoolLimit { reason: String },
}

impl Cancel {
    /// Asks the job to end. The first reason stays.
    pub(crate) fn cancel(&self, reason: Canceled) {
        let _ = self.reason.set(reason);
        self.give_up.give_up();
    }

    /// Ends the repository's requests at the same moment: a store that hangs is not waited for.
    pub(crate) fn give_up(&self) -> &GiveUp {
        &self.give_up
    }

    /// An error once [`cancel`](Self::cancel) was called.
    pub(crate) fn check(&self) -> Result<(), Canceled> {
        self.reason.get().cloned().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays() {
        let cancel = Cancel::default();
        assert_eq!(cancel.check(), Ok(()));
        let first = Canceled::PoolLimit { reason: "data at 95 %".into() };
        cancel.clone().cancel(first.clone());
        cancel.cancel(Canceled::Asked { by: "SIGINT".into() });
        assert_eq!(cancel.check(), Err(first));
        assert!(cancel.give_up().is_given_up());
    }
}
