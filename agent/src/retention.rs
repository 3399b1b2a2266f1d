//! Which backups are kept and which can go. Pure: a list, a policy and the time in, a verdict on each
//! backup out.
//!
//! A backup is kept for any reason there is. Hours, days, weeks (ISO 8601), months and years are those
//! of UTC, in which all times are shown.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

use crate::views::Backup;

/// How many are kept of one volume of one host; 0 is no rule.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// Of the newest.
    pub(crate) last: u32,
    /// Of how many of the latest periods that have any the newest one.
    pub(crate) periods: Vec<(Period, u32)>,
    /// All that are not older.
    pub(crate) within: Option<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Period {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

/// A backup and why it is kept; with no reason it can go.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) backup: Backup,
    pub(crate) reasons: Vec<String>,
}

impl Policy {
    /// Whether it has no rule. Then only those can go that were made with a time to live, once that
    /// is over.
    pub(crate) fn is_empty(&self) -> bool {
        self.last == 0 && self.within.is_none() && self.periods.iter().all(|(_, count)| *count == 0)
    }

    /// Judges `backups`, each volume's by themselves, and returns them by volume, newest first.
    ///
    /// # Errors
    /// When `within` reaches back beyond all calendars.
    pub(crate) fn judge(
        &self,
        backups: Vec<Backup>,
        now: Timestamp,
    ) -> Result<Vec<Verdict>, jiff::Error> {
        let since = match self.within {
            Some(span) => Some(now.to_zoned(TimeZone::UTC).checked_sub(span)?.timestamp()),
            None => None,
        };
        let mut volumes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for backup in backups {
            let volume = backup.source_uuid.clone().unwrap_or_else(|| backup.source.clone());
            volumes.entry((backup.host_id.clone(), volume)).or_default().push(backup);
        }
        let mut verdicts = Vec::new();
        for mut volume in volumes.into_values() {
            volume.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
            let first = verdicts.len();
            verdicts.extend(volume.into_iter().map(|backup| {
                let reasons = self.reasons_of_its_own(&backup, since, now);
                Verdict { backup, reasons }
            }));
            self.keep_by_number(&mut verdicts[first..]);
        }
        Ok(verdicts)
    }

    /// Why a backup is kept, whatever others there are.
    fn reasons_of_its_own(
        &self,
        backup: &Backup,
        since: Option<Timestamp>,
        now: Timestamp,
    ) -> Vec<String> {
        let mut reasons = Vec::new();
        if let Some(hold) = &backup.hold {
            reasons.push(format!("held: {}", hold.reason));
        }
        match backup.ttl.as_deref().map(|ttl| (ttl, end_of_life(backup.created_at, ttl))) {
            Some((_, Some(end))) if end <= now => {}
            Some((ttl, _)) => reasons.push(format!("ttl {ttl}")),
            None if self.is_empty() => reasons.push("no ttl".to_owned()),
            None => {}
        }
        if let (Some(since), Some(span)) = (since, self.within)
            && backup.created_at >= since
        {
            reasons.push(format!("within {span:#}"));
        }
        reasons
    }

    /// Adds the reasons that depend on the others, to one volume's backups, newest first.
    fn keep_by_number(&self, verdicts: &mut [Verdict]) {
        let last = usize::try_from(self.last).unwrap_or(usize::MAX);
        for verdict in verdicts.iter_mut().take(last) {
            verdict.reasons.push("last".to_owned());
        }
        for &(period, count) in &self.periods {
            let (mut left, mut before) = (count, None);
            for verdict in verdicts.iter_mut() {
                let name = period.of(verdict.backup.created_at);
                if left > 0 && before.as_ref() != Some(&name) {
                    left -= 1;
                    verdict.reasons.push(name.clone());
                    before = Some(name);
                }
            }
        }
    }
}

impl Period {
    /// The one in which `at` lies, as people call it.
    fn of(self, at: Timestamp) -> String {
        let format = match self {
            Self::Hour => "hour %Y-%m-%d %H",
            Self::Day => "day %Y-%m-%d",
            Self::Week => "week %G-W%V",
            Self::Month => "month %Y-%m",
            Self::Year => "year %Y",
        };
        at.strftime(format).to_string()
    }
}

/// When a backup is no longer wanted; `None` where that is never, or said in a way that a newer version
/// understands.
fn end_of_life(created_at: Timestamp, ttl: &str) -> Option<Timestamp> {
    let ttl: SignedDuration = ttl.parse().ok()?;
    created_at.checked_add(ttl).ok()
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
