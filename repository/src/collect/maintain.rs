//! Maintenance of a domain: collection, repacking, and collection of what that made superfluous; then
//! digests.

use std::sync::Arc;

use super::repack::{RepackPlan, repack};
use super::report::{Collected, MaintainOptions, MaintainProgress};
use super::run::{OnProgress, collect};
use crate::crypto::DomainKeys;
use crate::digest;
use crate::error::{Error, Result};
use crate::store::Store;

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
