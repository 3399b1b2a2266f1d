//! What G1 and G4 read: the index, and the trees of what is live or read.

use std::collections::BTreeSet;

use super::holdings::{Holdings, Source};
use super::reach::{Nodes, Reach, blocked_by};
use super::run::{Collector, is_loss};
use crate::digest;
use crate::error::Result;
use crate::index::{CompactedRun, IndexView};
use crate::manifest::{self, Manifest, OUTCOME_BYTES_MAX, Outcome};
use crate::names::{BackupLocation, ContainerRef, Place};
use crate::session::{Ends, Readers, Reading};

/// What the live backups of G1 reach, and where it lies.
pub(super) struct Known {
    pub(super) reach: Reach,
    pub(super) holdings: Holdings,
    pub(super) walked: BTreeSet<BackupLocation>,
    pub(super) fenced: BTreeSet<BackupLocation>,
    /// The runs that were read.
    pub(super) runs: BTreeSet<ContainerRef>,
    /// Session runs that are merged, and carry no blobs of their own.
    pub(super) merged: Vec<ContainerRef>,
    /// Index objects that do.
    pub(super) carriers: BTreeSet<ContainerRef>,
    /// What is held by blobs in the compacted runs that every generation names.
    pub(super) compacted_holders: BTreeSet<ContainerRef>,
    pub(super) compacted_entries: usize,
    pub(super) merged_entries: usize,
}

/// What G4 listed.
pub(super) struct Later {
    /// Sessions that have an outcome.
    pub(super) outcomes: BTreeSet<BackupLocation>,
    /// Backups that are read.
    pub(super) read: BTreeSet<BackupLocation>,
    /// Readings that have ended and whose marks are there.
    pub(super) ended: BTreeSet<Reading>,
    /// Whether a backup that was dead at G1 is read. Its reader saw it live, and then all of it is there;
    /// or the mark came late, nobody reads, and what the backup reaches may be gone.
    pub(super) is_dead_read: bool,
}

impl Collector<'_, '_> {
    /// G1, behind the listing: reads the index and walks what is live. The index is listed after the
    /// outcomes, so that it names all that they reach.
    pub(super) fn walk_live(&mut self) -> Result<Known> {
        let view = IndexView::take(&**self.store, self.keys)?;
        // The other half is for what goes by containers, and for an index run that is being written.
        let share = self.options.memory_bytes / 16;
        let mut known = Known {
            reach: Reach::new(&self.options.scratch, 3 * share),
            holdings: Holdings::new(&self.options.scratch, 5 * share),
            walked: BTreeSet::new(),
            fenced: BTreeSet::new(),
            runs: BTreeSet::new(),
            merged: Vec::new(),
            carriers: BTreeSet::new(),
            compacted_holders: BTreeSet::new(),
            compacted_entries: 0,
            merged_entries: 0,
        };
        self.read_runs(&view, &mut known)?;
        let Ends { outcomes, tombs, digests, .. } = self.survey.ends.clone();
        let mut digested = digest::read_all(&**self.store, self.keys, &digests)?;
        for (at, member) in outcomes.difference(&tombs).enumerate() {
            self.progress("reading backups", at, outcomes.len())?;
            let outcome = match digested.remove(&member.session) {
                Some(backup) => Some(Outcome::Backup(Box::new(backup))),
                None => self.outcome(*member)?,
            };
            match outcome {
                Some(Outcome::Backup(backup)) => {
                    self.walk(&mut known, &backup)?;
                    known.walked.insert(*member);
                }
                Some(Outcome::Fenced) => drop(known.fenced.insert(*member)),
                None => {}
            }
        }
        Ok(known)
    }

    fn walk(&self, known: &mut Known, backup: &Manifest) -> Result<()> {
        let is_doubtful = |container: &ContainerRef| {
            self.inherited.contains(container) || !self.survey.containers.contains_key(container)
        };
        let nodes = Nodes {
            store: &**self.store,
            keys: self.keys,
            containers: known.holdings.containers(),
            is_doubtful: &is_doubtful,
        };
        known.reach.add(&nodes, backup)
    }

    /// Those that do not exist. What was not listed may have been made since.
    pub(super) fn gone(&self, named: &[ContainerRef]) -> Result<BTreeSet<ContainerRef>> {
        let mut gone = BTreeSet::new();
        for container in named.iter().filter(|it| !self.survey.containers.contains_key(it)) {
            match self.store.size(&container.key(self.keys.id())) {
                Ok(_) => {}
                Err(error) if error.is_not_found() => drop(gone.insert(*container)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(gone)
    }

    fn read_runs(&mut self, view: &IndexView, known: &mut Known) -> Result<()> {
        let open = self.survey.open_sessions();
        let common: BTreeSet<ContainerRef> =
            view.common_runs().iter().map(CompactedRun::container).collect();
        let objects = view.runs_for_readers();
        for (at, object) in objects.iter().enumerate() {
            self.progress("reading the index", at, objects.len())?;
            let container = object.container;
            if !known.runs.insert(container) {
                continue;
            }
            let source = match container.place {
                Place::Compacted => Source::Compacted,
                // One that was not listed at first may name packs that were not; one that carries
                // what it names stays, and is named by a compacted run once it was merged.
                _ if open.contains(&container.id.session())
                    || !self.survey.containers.contains_key(&container)
                    || known.compacted_holders.contains(&container) =>
                {
                    Source::Open
                }
                _ => Source::Merged,
            };
            let is_common = common.contains(&container);
            let run = match known.holdings.add(&**self.store, self.keys, *object, source) {
                // Named by a generation that arrived late, when nobody named it any more.
                Err(error) if error.is_not_found() && source == Source::Compacted && !is_common => {
                    continue;
                }
                run => run?,
            };
            let is_carrier = run.containers().contains(&container);
            match source {
                Source::Compacted if is_common => {
                    known.compacted_holders.extend(run.containers());
                    known.compacted_entries += run.len();
                }
                Source::Merged => {
                    known.merged_entries += run.len();
                    if !is_carrier {
                        known.merged.push(container);
                    }
                }
                _ => {}
            }
            if is_carrier {
                known.carriers.insert(container);
            }
        }
        known.reach.add_nodes(&mut known.holdings.take_nodes())
    }

    /// G4: adds what is live or read and was not walked, outcomes first. Counts a backup as live that
    /// was not seen dead at G1.
    pub(super) fn walk_new(&mut self, known: &mut Known) -> Result<Later> {
        let ends = Ends::list(&**self.store, self.keys.id())?;
        let readers = Readers::list(&**self.store, self.keys.id())?;
        let read: BTreeSet<_> = readers.open.into_iter().map(|(backup, _)| backup).collect();
        let dead = self.survey.ends.tombs.clone();
        let is_live = |it: &&BackupLocation| !ends.tombs.contains(it) || !dead.contains(it);
        let mut wanted: BTreeSet<BackupLocation> =
            ends.outcomes.iter().filter(is_live).copied().collect();
        wanted.extend(&read);
        let wanted: Vec<_> = wanted.difference(&(&known.walked | &known.fenced)).copied().collect();
        let is_dead_read = wanted.iter().any(|member| dead.contains(member));
        let later = Later { outcomes: ends.outcomes, read, ended: readers.ended, is_dead_read };
        if wanted.is_empty() && later.read.is_empty() {
            return Ok(later);
        }
        // What they found their blobs by may have been published since G1.
        let view = IndexView::take(&**self.store, self.keys)?;
        self.read_runs(&view, known)?;
        for (at, member) in wanted.iter().enumerate() {
            self.progress("reading new backups", at, wanted.len())?;
            let Some(Outcome::Backup(backup)) = self.outcome(*member)? else { continue };
            match self.walk(known, &backup) {
                Err(error) if is_loss(&error) && dead.contains(member) => {}
                walked => walked?,
            }
        }
        Ok(later)
    }

    fn outcome(&self, member: BackupLocation) -> Result<Option<Outcome>> {
        let bytes = match self.store.get(&member.outcome(), OUTCOME_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let opened = manifest::open(self.keys, member, &bytes);
        opened.map(Some).map_err(|error| blocked_by(format!("backup {}", member.session), error))
    }
}
