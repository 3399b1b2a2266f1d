//! Telling a store that nobody waits for it any longer.

use std::sync::Arc;

use tokio::sync::watch;

/// Ends the requests of one job, from any thread: shared by whoever may have to end the job and, by
/// way of [`Store::until`](super::Store::until), the store that works for it. It cannot be taken back.
#[derive(Clone, Debug)]
pub struct GiveUp(Arc<watch::Sender<bool>>);

impl Default for GiveUp {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl GiveUp {
    /// From now on nobody waits.
    pub fn give_up(&self) {
        self.0.send_replace(true);
    }

    /// Whether [`give_up`](Self::give_up) was called.
    pub fn is_given_up(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once [`give_up`](Self::give_up) was called.
    pub(super) async fn given_up(&self) {
        // The sender lives as long as this borrow.
        let _ = self.0.subscribe().wait_for(|is_given_up| *is_given_up).await;
    }
}
