//! G3: uploads that are under way end, or are kept from committing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::repack;
use super::run::Collector;
use crate::error::{Error, Result};
use crate::manifest;
use crate::names::BackupLocation;
use crate::session::{Ends, Mark, list_marks};
use crate::store::Creation;
use crate::upload::create;

/// How often an upload that is under way is looked at.
const POLL: Duration = Duration::from_secs(1);

impl Collector<'_, '_> {
    /// G3. Returns the uploads that have not ended and may not be kept from it.
    pub(super) fn settle_writers(&mut self) -> Result<BTreeSet<BackupLocation>> {
        let marks = list_marks(&**self.store, self.keys.id())?;
        let begun = Instant::now();
        loop {
            let mut open = Ends::list(&**self.store, self.keys.id())?.open_of(&marks);
            let total = open.len();
            for member in open.clone() {
                if self.may_end(member)? {
                    open.remove(&member);
                }
            }
            let waited = begun.elapsed();
            if open.is_empty() || waited >= self.options.wait {
                return Ok(open);
            }
            self.progress("waiting for uploads to end", total - open.len(), total)?;
            std::thread::sleep(POLL.min(self.options.wait - waited));
        }
    }

    /// Keeps an upload from committing if it is old enough, and the store lets that be done safely.
    /// Returns whether it is over.
    fn may_end(&mut self, member: BackupLocation) -> Result<bool> {
        // It never has a backup, so a fence there is harmless, whoever else puts one.
        if member.volume == self.keys.volume_id(repack::VOLUME) {
            self.fence(member)?;
            return Ok(true);
        }
        let key = member.mark();
        let mark = match Mark::read(&**self.store, self.keys, &key) {
            Ok(Some(mark)) => mark,
            // Whoever took it away had seen the session's outcome.
            Ok(None) => return Ok(true),
            // Whoever wrote a mark that cannot be read is left to the operator.
            Err(Error::Damaged { .. } | Error::NewerFormat { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let Some(fence_after) = self.options.fence_after else { return Ok(false) };
        if !self.store.has_conditional_writes() {
            return Ok(false);
        }
        let age = Timestamp::now().duration_since(mark.started_at);
        let is_old = Duration::try_from(age).is_ok_and(|age| age >= fence_after);
        if is_old {
            self.fence(member)?;
        }
        Ok(is_old)
    }

    fn fence(&mut self, member: BackupLocation) -> Result<()> {
        let fence = manifest::seal_fence(self.keys, &member)?;
        let created = create(&**self.store, "fence", &member.outcome(), &fence)?;
        if matches!(created, Creation::Created | Creation::CreatedInDoubt) {
            self.collected.fenced.push(member.session.to_string());
        }
        Ok(())
    }
}
