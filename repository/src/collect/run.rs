//! The steps of a collection, in their order. Each request is answered before the next one is made;
//! an error at any of them ends the run, and the next run goes on from what it left.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::compact::Compactor;
use super::holdings::Source;
use super::needs::{Chooser, Holder};
use super::plan;
use super::reach::blocked_by;
use super::removal::{delete, delete_readers};
use super::repack::{self, Chosen, RepackPlan};
use super::report::{Collected, CollectionEnd, MaintainOptions, MaintainProgress};
use super::survey::Survey;
use super::walk::{Known, Later};
use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::index::{CompactedRun, Generation, list_generations};
use crate::names::{CollectorId, ContainerRef, GenerationName};
use crate::sealed::{self, SealedKind};
use crate::session::Readers;
use crate::store::Store;
use crate::upload::create;

pub(super) type OnProgress<'c> = dyn FnMut(MaintainProgress) -> ControlFlow<()> + 'c;

/// More compacted runs than these are made one again.
const RUNS_WANTED_MAX: usize = 1024;

/// Collects, and says what is worth repacking.
pub(super) fn collect(
    store: &Arc<dyn Store>,
    keys: &Arc<DomainKeys>,
    options: &MaintainOptions,
    on_progress: &mut OnProgress<'_>,
) -> Result<(Collected, RepackPlan)> {
    let survey = Survey::take(&**store, keys)?;
    if survey.is_quiet(options.repack.bytes) {
        delete_readers(&**store, &Readers::list(&**store, keys.id())?.ended)?;
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

pub(super) fn is_loss(error: &Error) -> bool {
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
    pub(super) inherited: BTreeSet<ContainerRef>,
    /// Whether anything may be gone that only this collector's generations condemn.
    pub(super) has_deleted: bool,
    pub(super) collected: Collected,
    repack: RepackPlan,
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
        let first = Generation { condemned: condemned.clone(), runs, ..Generation::default() };
        self.put_generation(false, &first)?;
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
        let Later { outcomes: later, read, ended, is_dead_read } = self.walk_new(&mut known)?;
        let there = &self.survey.containers;
        let exists = |container: &ContainerRef| there.contains_key(container);
        let (spared, missing) =
            known.holdings.spared(&mut known.reach, &condemned, exists, !read.is_empty())?;
        if !self.is_alone()? {
            return Ok(CollectionEnd::Contended);
        }
        if let Some(id) = missing.filter(|_| !is_dead_read) {
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
        let repackable = self.plan_repack(&mut known, &chooser, &condemned)?;
        let settled = plan::settled(&self.survey, &read);
        let last = Generation { condemned: still_condemned, runs, settled, repackable };
        self.put_generation(true, &last)?;
        self.delete_merged(&known)?;
        self.delete_old_generations()?;
        self.delete_unnamed_runs()?;
        let Known { fenced, .. } = &known;
        self.delete_leftovers(&plan::leftovers(&self.survey, fenced, &later, &read, &last))?;
        delete_readers(&**self.store, &ended)?;
        Ok(CollectionEnd::Finished)
    }

    /// Plans what is worth repacking of that which stays, and returns what the least of it takes, in
    /// bytes. By a deletion meanwhile some of it may have died.
    fn plan_repack(
        &mut self,
        known: &mut Known,
        chooser: &Chooser,
        condemned: &BTreeSet<ContainerRef>,
    ) -> Result<u64> {
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
        let Chosen { containers, least_bytes } = repack::choose(shares, &self.options.repack);
        if !containers.is_empty() {
            let (holdings, reach) = (&mut known.holdings, &mut known.reach);
            self.repack = RepackPlan::new(holdings, reach, chooser, &containers)?;
        }
        Ok(least_bytes)
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

    /// See [`delete`].
    pub(super) fn delete(&self, key: &str) -> Result<()> {
        delete(&**self.store, key)
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
