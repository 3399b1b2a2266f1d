//! Attempts of one request: again after a pause while that can help and there is time.
//!
//! Our own and not the library's, because who commits a backup must know whether an attempt that
//! was given up may still arrive (FORMAT.md, section 12).

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::attempt::{Answer, watch};
use super::client::Client;
use super::failure::Failed;
use crate::crypto::random;
use crate::store::GiveUp;

/// The first pause is up to this, each further one up to twice the one before it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// What a store may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// For so long a store is looked for that has never answered.
const FIRST_CONTACT: Duration = Duration::from_secs(10);
/// What an attempt has for its answer once its caller has given up.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// What moves more is not begun any more then. What ends a session or takes a mark back is far less.
const LAST_BYTES: u64 = 64 << 10;
/// The slowest line that is reckoned with, in bytes a second.
const BYTES_PER_SECOND: u64 = 64 << 10;

/// What became of a request.
#[derive(Debug)]
pub(super) struct Tried<T> {
    pub(super) result: Result<T, Failed>,
    /// Whether an attempt before the last one was never answered: it may still arrive.
    pub(super) in_doubt: bool,
}

/// Makes `attempt`s at something that moves `bytes`.
pub(super) async fn attempts<T, F>(
    client: &Client,
    bytes: u64,
    mut attempt: impl FnMut() -> F,
) -> Tried<T>
where
    F: Future<Output = object_store::Result<T>>,
{
    let limits = client.limits();
    let attempt_limit = limits.attempt + Duration::from_secs(bytes / BYTES_PER_SECOND);
    let give_up = client.give_up();
    let (began, mut round, mut in_doubt) = (Instant::now(), 0_u32, false);
    loop {
        if give_up.is_given_up() && bytes > LAST_BYTES {
            return Tried { result: Err(Failed::given_up()), in_doubt };
        }
        let answer = Arc::new(Mutex::new(Answer::default()));
        let watched = watch(Arc::clone(&answer), attempt());
        let outcome = within(attempt_limit, give_up, watched).await;
        let answer = std::mem::take(&mut *answer.lock().unwrap_or_else(PoisonError::into_inner));
        if answer.status.is_some() {
            client.note_answered();
        }
        let failed = match outcome {
            Ok(Ok(value)) => return Tried { result: Ok(value), in_doubt },
            Ok(Err(error)) => Failed::new(&answer, &error),
            Err(waited) => Failed::unanswered(waited, &answer),
        };
        let time =
            if client.has_answered() { limits.retry } else { limits.retry.min(FIRST_CONTACT) };
        let pause = pause(round, answer.retry_after);
        let is_last = !failed.is_worth_retrying || began.elapsed() + pause > time;
        if is_last || pause_until(pause, give_up).await.is_err() {
            return Tried { result: Err(failed), in_doubt };
        }
        in_doubt |= !failed.is_definite;
        round = round.saturating_add(1);
    }
}

/// Runs an attempt for so long, or shortly once its caller has given up. An error is how long it had.
pub(super) async fn within<F: Future>(
    limit: Duration,
    give_up: &GiveUp,
    attempt: F,
) -> Result<F::Output, Duration> {
    let mut attempt = pin!(attempt);
    let limit = tokio::select! {
        output = tokio::time::timeout(limit, &mut attempt) => return output.map_err(|_| limit),
        () = give_up.given_up() => LAST_WAIT.min(limit),
    };
    tokio::time::timeout(limit, attempt).await.map_err(|_| limit)
}

/// An error once the caller has given up.
async fn pause_until(pause: Duration, give_up: &GiveUp) -> Result<(), ()> {
    tokio::time::timeout(pause, give_up.given_up()).await.map_or(Ok(()), Err)
}

/// Anything up to a limit that doubles each time, so that many hosts do not come back at once.
fn pause(round: u32, retry_after: Option<Duration>) -> Duration {
    let limit = FIRST_PAUSE.saturating_mul(1 << round.min(16)).min(PAUSE_MAX);
    let share = random().map_or(u32::MAX, u32::from_le_bytes);
    let jittered = limit.mul_f64(f64::from(share) / f64::from(u32::MAX));
    jittered.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_keep_what_the_store_asks_for() {
        for round in [0, 1, 5, 7, 40, u32::MAX] {
            let limit = FIRST_PAUSE.saturating_mul(1 << round.min(16)).min(PAUSE_MAX);
            for _ in 0..100 {
                assert!(pause(round, None) <= limit);
            }
        }
        let many: Vec<_> = (0..100).map(|_| pause(20, None)).collect();
        assert!(many.iter().any(|pause| *pause > PAUSE_MAX / 2));
        assert!(many.iter().any(|pause| *pause < PAUSE_MAX / 2));
        assert!(pause(0, Some(Duration::from_secs(3))) >= Duration::from_secs(3));
        assert_eq!(pause(0, Some(Duration::from_secs(9999))), RETRY_AFTER_MAX);
    }
}
