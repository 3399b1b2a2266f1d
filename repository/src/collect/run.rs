//! The steps of a collection, in their order. Each request is answered before the next one is made;
//! an error at any of them ends the run, and the next run goes on from what it left.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::compact::Compactor;
use super::holdings::{Holdings, Source};
use super::needs::{Chooser, Holder};
use super::plan;
use super::reach::{Nodes, Reach, blocked_by};
use super::repack::{self, RepackPlan, repack};
use super::report::{Collected, CollectionEnd, MaintainOptions, MaintainProgress};
use super::survey::Survey;
use crate::crypto::DomainKeys;
use crate::digest;
use crate::error::{Error, Result};
use crate::index::{CompactedRun, Generation, IndexView, list_generations};
use crate::manifest::{self, Manifest, OUTCOME_BYTES_MAX, Outcome};
use crate::names::{BackupLocation, CollectorId, ContainerRef, GenerationName, Place};
use crate::sealed::{self, SealedKind};
use crate::session::{Ends, Readers, Reading};
use crate::store::Store;
use crate::upload::create;

pub(super) type OnProgress<'c> = dyn FnMut(MaintainProgress) -> ControlFlow<()> + 'c;

/// More compacted runs than these are made one again.
const RUNS_WANTED_MAX: usize = 1024;

/// Maintains one domain: collects, repacks what is worth it, and then collects what that made
/// superfluous. `client` is who does it.
pub(crate) fn maintain(
    store: &Arc<dyn Store>,
    keys: &Arc<DomainKeys>,
    client: &str,
    options: &MaintainOptions,
    on_progress: &mut OnProgress<'_>,
) -> Result<Collected> {
    let (mut collected, plan) = collect(store, keys, options, on_progress)?;
    if !plan.is_empty() {
        repack_and_collect(store, keys, client, options, &plan, &mut collected, on_progress)?;
    }
    let refreshed = digest::refresh(&**store, keys, &mut || {
        let progress = MaintainProgress { phase: "refreshing digests", done: 0, total: 0 };
        if on_progress(progress).is_break() { Err(Error::Canceled) } else { Ok(()) }
    });
    match refreshed {
        Ok(digests) => collected.digests = digests,
        Err(Error::Canceled) => return Err(Error::Canceled),
        // They are only a help.
        Err(error) => collected.warnings.push(format!("digests were not refreshed: {error}")),
    }
    Ok(collected)
}

fn repack_and_collect(
    store: &Arc<dyn Store>,
    keys: &Arc<DomainKeys>,
    client: &str,
    options: &MaintainOptions,
    plan: &RepackPlan,
    collected: &mut Collected,
    on_progress: &mut OnProgress<'_>,
) -> Result<()> {
    // What was collected is collected, whatever happens from here on.
    match repack(store, keys, client, plan, on_progress) {
        Ok(repacked) => {
            collected.repacked_bytes = repacked.stored_bytes;
            collected.warnings = repacked.damage;
        }
        Err(Error::Canceled) => return Err(Error::Canceled),
        Err(error) => collected.warnings.push(format!("nothing was repacked: {error}")),
    }
    // It takes out what is superfluous now, also what was stored in vain. Whatever keeps it from that,
    // the next maintenance goes on.
    let again = match collect(store, keys, options, on_progress) {
        Ok((again, _)) => again,
        Err(Error::Canceled) => return Err(Error::Canceled),
        Err(error) => {
            collected.warnings.push(format!("what was repacked is still there: {error}"));
            return Ok(());
        }
    };
    collected.deleted_containers += again.deleted_containers;
    collected.deleted_bytes += again.deleted_bytes;
    collected.merged_indexes += again.merged_indexes;
    collected.fenced.extend(again.fenced);
    Ok(())
}

/// Collects, and says what is worth repacking.
fn collect(
    store: &Arc<dyn Store>,
    keys: &Arc<DomainKeys>,
    options: &MaintainOptions,
    on_progress: &mut OnProgress<'_>,
) -> Result<(Collected, RepackPlan)> {
    let survey = Survey::take(&**store, keys)?;
    if survey.is_quiet() {
        let idle = Collected { end: CollectionEnd::Idle, ..Collected::default() };
        return Ok((idle, RepackPlan::default()));
    }
    let id = CollectorId::random()?;
    let mut collector = Collector {
        store,
        keys,
        options,
        on_progress,
        id,
        inherited: survey.view.condemned(),
        survey,
        has_deleted: false,
        collected: Collected::default(),
        repack: RepackPlan::default(),
    };
    collector.collected.end = match collector.run() {
        // What was listed is gone, or could not be found: somebody else merged or deleted it, or it
        // is lost.
        Err(error) if is_loss(&error) && !collector.has_deleted => {
            if !collector.is_overtaken()? {
                let _ = collector.withdraw();
                return Err(match error {
                    blocked @ Error::CollectionBlocked { .. } => blocked,
                    error => {
                        let (backup, cause) = ("a listed backup".to_owned(), Box::new(error));
                        Error::CollectionBlocked { backup, cause }
                    }
                });
            }
            CollectionEnd::Contended
        }
        Err(error) => {
            if !collector.has_deleted {
                // The error is what counts; a generation that stays is adopted.
                let _ = collector.withdraw();
            }
            return Err(error);
        }
        Ok(end) => end,
    };
    if !collector.has_deleted {
        collector.withdraw()?;
    }
    Ok((collector.collected, collector.repack))
}

fn is_loss(error: &Error) -> bool {
    error.is_not_found() || matches!(error, Error::CollectionBlocked { .. })
}

pub(super) struct Collector<'c, 'p> {
    pub(super) store: &'c Arc<dyn Store>,
    pub(super) keys: &'c Arc<DomainKeys>,
    pub(super) options: &'c MaintainOptions,
    pub(super) on_progress: &'c mut OnProgress<'p>,
    pub(super) id: CollectorId,
    pub(super) survey: Survey,
    /// What the generations of G1 condemn.
    inherited: BTreeSet<ContainerRef>,
    /// Whether anything may be gone that only this collector's generations condemn.
    pub(super) has_deleted: bool,
    pub(super) collected: Collected,
    repack: RepackPlan,
}

/// What the live backups of G1 reach, and where it lies.
pub(super) struct Known {
    reach: Reach,
    holdings: Holdings,
    walked: BTreeSet<BackupLocation>,
    fenced: BTreeSet<BackupLocation>,
    /// The runs that were read.
    runs: BTreeSet<ContainerRef>,
    /// Session runs that are merged, and carry no blobs of their own.
    pub(super) merged: Vec<ContainerRef>,
    /// Index objects that do.
    carriers: BTreeSet<ContainerRef>,
    /// What is held by blobs in the compacted runs that every generation names.
    compacted_holders: BTreeSet<ContainerRef>,
    compacted_entries: usize,
    merged_entries: usize,
}

/// What G4 listed.
struct Later {
    /// Sessions that have an outcome.
    outcomes: BTreeSet<BackupLocation>,
    /// Backups that are read.
    read: BTreeSet<BackupLocation>,
    /// Readings that have ended and whose marks are there.
    ended: BTreeSet<Reading>,
}

impl Collector<'_, '_> {
    fn run(&mut self) -> Result<CollectionEnd> {
        let mut known = self.walk_live()?;
        let gone = self.gone(known.holdings.containers())?;
        let inherited = self.inherited.clone();
        let open = self.survey.open_sessions();
        let about = |container: &ContainerRef| {
            let size = self.survey.containers.get(container).copied();
            let is_safe = size.is_some()
                && !inherited.contains(container)
                && !open.contains(&container.id.session());
            Holder { exists: !gone.contains(container), is_safe, size: size.unwrap_or_default() }
        };
        let (chooser, missing) = known.holdings.choose(&mut known.reach, about)?;
        if let Some(id) = missing {
            let cause = Error::BlockMissing { id, hint: String::new() };
            return Err(blocked_by("a listed backup".to_owned(), cause));
        }
        let needed_bytes = |container: &ContainerRef| {
            let number = known.holdings.number_of(container);
            number.map_or(0, |number| chooser.needed_bytes(number))
        };
        let is_needed = |container: &ContainerRef| needed_bytes(container) > 0;
        let own = plan::candidates(&self.survey, &known.carriers, is_needed, &inherited);
        let condemned: BTreeSet<ContainerRef> = inherited.union(&own).copied().collect();

        // G2
        self.progress("condemning", 0, condemned.len())?;
        let runs = self.survey.view.common_runs();
        self.put_generation(false, &Generation { condemned: condemned.clone(), runs })?;
        if !self.is_alone()? {
            return Ok(CollectionEnd::Contended);
        }

        // G3
        let open = self.settle_writers()?;
        if !open.is_empty() {
            let sessions = open.iter().map(|member| member.session.to_string()).collect();
            return Ok(CollectionEnd::Waiting { sessions });
        }

        // G4
        let Later { outcomes: later, read, ended } = self.walk_new(&mut known)?;
        let there = &self.survey.containers;
        let exists = |container: &ContainerRef| there.contains_key(container);
        let (spared, missing) =
            known.holdings.spared(&mut known.reach, &condemned, exists, !read.is_empty())?;
        if !self.is_alone()? {
            return Ok(CollectionEnd::Contended);
        }
        if let Some(id) = missing {
            let cause = Error::BlockMissing { id, hint: String::new() };
            return Err(blocked_by("a new backup".to_owned(), cause));
        }
        let deletable = plan::deletable(&condemned, there, &spared);

        // G5
        self.has_deleted = true;
        self.delete_containers(&deletable)?;
        let runs = self.compact(&mut known, &deletable)?;

        // G6
        let still_condemned = plan::still_condemned(&self.survey, &inherited, &own, &deletable);
        let last = Generation { condemned: still_condemned, runs };
        self.put_generation(true, &last)?;
        self.delete_merged(&known)?;
        self.delete_old_generations()?;
        self.delete_unnamed_runs()?;
        let Known { fenced, .. } = &known;
        self.delete_leftovers(&plan::leftovers(&self.survey, fenced, &later, &read, &last))?;
        self.delete_ended_readers(&ended)?;
        self.repack = self.plan_repack(&mut known, &chooser, &condemned)?;
        Ok(CollectionEnd::Finished)
    }

    /// What is worth repacking of that which stays. By a deletion meanwhile some of it may have died.
    fn plan_repack(
        &self,
        known: &mut Known,
        chooser: &Chooser,
        condemned: &BTreeSet<ContainerRef>,
    ) -> Result<RepackPlan> {
        let open = self.survey.open_sessions();
        let containers = &self.survey.containers;
        let stays = |container: &ContainerRef| {
            containers.contains_key(container)
                && !condemned.contains(container)
                && !open.contains(&container.id.session())
        };
        let shares = (0..).zip(known.holdings.containers()).filter(|(_, it)| stays(it));
        let shares = shares.filter_map(|(number, container)| {
            let (needed, size) = (chooser.needed_bytes(number), *containers.get(container)?);
            (needed > 0).then_some((*container, needed, size))
        });
        let chosen = repack::choose(shares, &self.options.repack);
        if chosen.is_empty() {
            return Ok(RepackPlan::default());
        }
        RepackPlan::new(&mut known.holdings, &mut known.reach, chooser, &chosen)
    }

    /// G1, behind the listing: reads the index and walks what is live. The index is listed after the
    /// outcomes, so that it names all that they reach.
    fn walk_live(&mut self) -> Result<Known> {
        let view = IndexView::take(&**self.store, self.keys)?;
        let quarter = self.options.memory_bytes / 4;
        let mut known = Known {
            reach: Reach::new(&self.options.scratch, quarter),
            holdings: Holdings::new(&self.options.scratch, 2 * quarter),
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
    fn gone(&self, named: &[ContainerRef]) -> Result<BTreeSet<ContainerRef>> {
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
    fn walk_new(&mut self, known: &mut Known) -> Result<Later> {
        let ends = Ends::list(&**self.store, self.keys.id())?;
        let readers = Readers::list(&**self.store, self.keys.id())?;
        let read: BTreeSet<_> = readers.open.into_iter().map(|(backup, _)| backup).collect();
        let dead = &self.survey.ends.tombs;
        let is_live = |it: &&BackupLocation| !ends.tombs.contains(it) || !dead.contains(it);
        let mut wanted: BTreeSet<BackupLocation> =
            ends.outcomes.iter().filter(is_live).copied().collect();
        wanted.extend(&read);
        let wanted: Vec<_> = wanted.difference(&(&known.walked | &known.fenced)).copied().collect();
        if wanted.is_empty() && read.is_empty() {
            return Ok(Later { outcomes: ends.outcomes, read, ended: readers.ended });
        }
        // What they found their blobs by may have been published since G1.
        let view = IndexView::take(&**self.store, self.keys)?;
        self.read_runs(&view, known)?;
        for (at, member) in wanted.iter().enumerate() {
            self.progress("reading new backups", at, wanted.len())?;
            let Some(Outcome::Backup(backup)) = self.outcome(*member)? else { continue };
            self.walk(known, &backup)?;
        }
        Ok(Later { outcomes: ends.outcomes, read, ended: readers.ended })
    }

    /// G5: the index of what stays. Compacted runs stay while they name nothing that goes and are
    /// large beside what is new.
    fn compact(
        &mut self,
        known: &mut Known,
        deletable: &BTreeSet<ContainerRef>,
    ) -> Result<BTreeSet<CompactedRun>> {
        let containers = &self.survey.containers;
        let stays = |it: &ContainerRef| containers.contains_key(it) && !deletable.contains(it);
        let common = self.survey.view.common_runs();
        // What only some name was made of session runs that are gone.
        let is_common =
            self.survey.view.generations.values().all(|generation| generation.runs == common);
        let is_stale = !known.compacted_holders.iter().all(&stays);
        let is_small = known.merged_entries >= known.compacted_entries / 4;
        let is_kept = is_common && !is_stale && !is_small && common.len() <= RUNS_WANTED_MAX;
        let (mut runs, sources) = if is_kept {
            (common, Source::Merged..=Source::Merged)
        } else {
            (BTreeSet::new(), Source::Compacted..=Source::Merged)
        };
        let mut compactor = Compactor::new(&**self.store, self.keys, self.id);
        known.holdings.for_each_entry(sources, stays, &mut |container, entry| {
            compactor.push(container, entry)
        })?;
        runs.append(&mut compactor.finish()?);
        Ok(runs)
    }

    /// Takes the first generation back: nothing was deleted by its leave, so nobody needs it.
    fn withdraw(&self) -> Result<()> {
        self.delete(&self.generation(false).key(self.keys.id()))
    }

    pub(super) fn generation(&self, is_last: bool) -> GenerationName {
        GenerationName { collector: self.id, is_last }
    }

    fn put_generation(&self, is_last: bool, generation: &Generation) -> Result<()> {
        let key = self.generation(is_last).key(self.keys.id());
        let bytes = sealed::seal(self.keys, &key, SealedKind::Generation, generation.encode())?;
        create(&**self.store, "generation", &key, &bytes)?;
        Ok(())
    }

    /// Whether this collector's generation stands, beside those it adopted, all of them, and no other.
    /// Two listings must say so: one can miss a generation that goes and the one that takes its place.
    fn is_alone(&self) -> Result<bool> {
        let mut expected: BTreeSet<GenerationName> =
            self.survey.view.generations.keys().copied().collect();
        expected.insert(self.generation(false));
        for _ in 0..2 {
            if list_generations(&**self.store, self.keys.id())? != expected {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether generations came or went that are not this collector's.
    fn is_overtaken(&self) -> Result<bool> {
        let mut listed = list_generations(&**self.store, self.keys.id())?;
        listed.remove(&self.generation(false));
        Ok(!listed.iter().eq(self.survey.view.generations.keys()))
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

    /// Deletes an object; one that is gone already is as good.
    pub(super) fn delete(&self, key: &str) -> Result<()> {
        match self.store.delete(key) {
            Ok(()) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn progress(
        &mut self,
        phase: &'static str,
        done: usize,
        total: usize,
    ) -> Result<()> {
        let progress = MaintainProgress { phase, done: done as u64, total: total as u64 };
        match (self.on_progress)(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Canceled),
        }
    }
}
