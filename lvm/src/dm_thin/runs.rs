//! Neighbours joined into runs, one in hand at a time.

/// What can become longer by what follows it.
pub(super) trait Run: Sized {
    /// Takes `next` in, and says whether it did: where it follows without a gap and is alike.
    fn join(&mut self, next: &Self) -> bool;
}

/// See [`joined`].
struct Joined<I, R, E> {
    parts: I,
    pending: Option<R>,
    failed: Option<E>,
}

/// Joins the neighbours among `parts`, which are in order. An error comes after what was whole
/// before it.
pub(super) fn joined<R: Run, E>(
    parts: impl Iterator<Item = Result<R, E>>,
) -> impl Iterator<Item = Result<R, E>> {
    Joined { parts, pending: None, failed: None }
}

impl<I: Iterator<Item = Result<R, E>>, R: Run, E> Iterator for Joined<I, R, E> {
    type Item = Result<R, E>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }
        loop {
            match (self.parts.next(), &mut self.pending) {
                (Some(Ok(part)), Some(run)) => {
                    if !run.join(&part) {
                        return self.pending.replace(part).map(Ok);
                    }
                }
                (Some(Ok(part)), None) => self.pending = Some(part),
                (Some(Err(error)), None) => return Some(Err(error)),
                (Some(Err(error)), Some(_)) => {
                    self.failed = Some(error);
                    return self.pending.take().map(Ok);
                }
                (None, _) => return self.pending.take().map(Ok),
            }
        }
    }
}
