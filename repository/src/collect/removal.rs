//! G5 and G6: what is deleted, each kind by itself. The order is the caller's.

use std::collections::BTreeSet;

use super::plan;
use super::run::Collector;
use super::survey::list_compacted;
use super::walk::Known;
use crate::error::Result;
use crate::index::IndexView;
use crate::names::{self, CollectorId, ContainerRef};
use crate::session::Reading;
use crate::store::Store;

/// Deletes an object; one that is gone already is as good.
pub(super) fn delete(store: &dyn Store, key: &str) -> Result<()> {
    match store.delete(key) {
        Ok(()) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Deletes what is left of readers that have ended. The mark goes first: without it nobody asks whether
/// its reader has ended.
pub(super) fn delete_readers(store: &dyn Store, ended: &BTreeSet<Reading>) -> Result<()> {
    for (backup, reader) in ended {
        delete(store, &backup.reader(*reader))?;
        delete(store, &backup.reader_end(*reader))?;
    }
    Ok(())
}

impl Collector<'_, '_> {
    pub(super) fn delete_containers(&mut self, containers: &BTreeSet<ContainerRef>) -> Result<()> {
        for (at, container) in containers.iter().enumerate() {
            self.progress("deleting", at, containers.len())?;
            self.delete(&container.key(self.keys.id()))?;
            let size = self.survey.containers.get(container).copied().unwrap_or_default();
            self.collected.deleted_containers += 1;
            self.collected.deleted_bytes += size;
        }
        Ok(())
    }

    /// G6: session runs whose entries stand in the new index.
    pub(super) fn delete_merged(&mut self, known: &Known) -> Result<()> {
        for container in &known.merged {
            self.delete(&container.key(self.keys.id()))?;
            self.collected.merged_indexes += 1;
        }
        Ok(())
    }

    pub(super) fn delete_old_generations(&mut self) -> Result<()> {
        for name in self.survey.view.generations.keys().copied().chain([self.generation(false)]) {
            self.delete(&name.key(self.keys.id()))?;
        }
        Ok(())
    }

    /// Compacted runs that no generation names and whose collector is not about to name them. They are
    /// listed first: a run that is made behind that may be named behind the look at the generations.
    pub(super) fn delete_unnamed_runs(&mut self) -> Result<()> {
        let runs = list_compacted(&**self.store, self.keys.id())?;
        let view = IndexView::take(&**self.store, self.keys)?;
        let named: BTreeSet<ContainerRef> = view
            .generations
            .values()
            .flat_map(|generation| &generation.runs)
            .map(|run| run.container())
            .collect();
        let at_work: BTreeSet<CollectorId> =
            view.generations.keys().filter(|it| !it.is_last).map(|it| it.collector).collect();
        for run in runs {
            if !named.contains(&run) && !at_work.contains(&run.id.collector()) {
                self.delete(&run.key(self.keys.id()))?;
            }
        }
        Ok(())
    }

    pub(super) fn delete_leftovers(&mut self, leftovers: &plan::Leftovers) -> Result<()> {
        let domain = self.keys.id();
        for member in &leftovers.marks {
            self.delete(&member.mark())?;
        }
        for member in &leftovers.outcomes {
            self.delete(&member.outcome())?;
        }
        for member in &leftovers.tombs {
            self.delete(&member.tomb())?;
        }
        for session in &leftovers.acks {
            self.delete(&names::ack(domain, *session))?;
        }
        for member in &leftovers.holds {
            self.delete(&member.hold())?;
        }
        Ok(())
    }
}
