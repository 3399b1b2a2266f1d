//! Keeps an eye on the thin pool while a job runs: the workload goes first.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use thinmover_lvm::{Lvm, Pool, PoolLimits, check_pool};

use crate::failure::chain;
use crate::stream::{Cancel, Canceled};

/// How often the pool is looked at. One look is one `dmsetup status`.
const PERIOD: Duration = Duration::from_secs(1);

/// Watches until dropped.
pub(super) struct PoolWatch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl PoolWatch {
    /// Cancels the job once `pool` passes its limits or can no longer be looked at. The first look
    /// is taken before this returns.
    pub(super) fn start(lvm: &Lvm, pool: &Pool, limits: PoolLimits, cancel: &Cancel) -> Self {
        let (lvm, pool, cancel) = (lvm.clone(), pool.clone(), cancel.clone());
        let (stop, stopped) = channel();
        look(&lvm, &pool, &limits, &cancel);
        let thread = std::thread::spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(PERIOD) {
                look(&lvm, &pool, &limits, &cancel);
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

fn look(lvm: &Lvm, pool: &Pool, limits: &PoolLimits, cancel: &Cancel) {
    let verdict = lvm
        .pool_usage(pool)
        .map_err(|error| chain(&error))
        .and_then(|usage| check_pool(pool, &usage, limits).map_err(|error| chain(&error)));
    if let Err(reason) = verdict {
        cancel.cancel(Canceled::PoolLimit { reason });
    }
}

impl Drop for PoolWatch {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
