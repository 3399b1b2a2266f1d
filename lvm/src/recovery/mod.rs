//! Putting back what dead processes left: the snapshots, volumes, mounts, activations and
//! metadata snapshots that records tell of, exactly these and nothing else.
//!
//! [`plan`] decides, over plain data; [`Lvm::recover`] does it, step by step. Each step may be
//! interrupted: the next recovery sees the state then and plans from there.

mod plan;

use std::time::Instant;

use crate::activation;
use crate::error::LvmError;
use crate::host::{Lvm, boot_id, require_root};
use crate::metadata_snapshot::{self, Held, Turn};
use crate::mount;
use crate::quiet;
use crate::record::{Body, HeldRecord, Nonce, Record, RecordProblem, SnapshotBody};
use crate::target;
use plan::{Plan, Step};

/// What a recovery did and did not do.
#[derive(Debug, Default)]
pub struct Recovery {
    /// What was put back, a sentence each.
    pub done: Vec<String>,
    /// What was left alone because it could not be told whose it is, or is in use.
    pub left: Vec<LeftAlone>,
    /// What was tried and failed; the next recovery tries again.
    pub failed: Vec<(String, LvmError)>,
    /// Records that were not acted on because they cannot be read.
    pub unreadable: Vec<RecordProblem>,
    /// Number of records whose process is alive.
    pub in_use: usize,
}

/// Something that recovery left as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftAlone {
    /// The record it is about, a file's name in the folder of records.
    pub record: String,
    /// Why.
    pub why: String,
}

impl Recovery {
    /// Whether everything that was left behind has been put back.
    pub fn is_clean(&self) -> bool {
        self.left.is_empty() && self.failed.is_empty() && self.unreadable.is_empty()
    }
}

impl Lvm {
    /// Puts back what processes left that are gone. Records of living processes are not touched.
    /// Doing it again does no harm, also while another process does it.
    ///
    /// # Errors
    /// When LVM or the records cannot be read at all. What fails for single records is reported.
    pub fn recover(&self) -> Result<Recovery, LvmError> {
        require_root()?;
        // First the records: once they are ours no process begins anything under them. Then the
        // inventory: it waits for the host-wide lock, and so for LVM commands of the dead.
        let scan = self.records().scan()?;
        let mut recovery = Recovery {
            in_use: scan.in_use.len(),
            unreadable: scan.problems,
            ..Recovery::default()
        };
        if scan.abandoned.is_empty() {
            return Ok(recovery);
        }
        activation::settle_devices();
        let inventory = self.inventory()?;
        let boot_id = boot_id()?;
        for held in scan.abandoned {
            // Nobody changes what a pool holds between the look and the act.
            let (turn, pool) = match self.look_at_pool(held.record()) {
                Ok(looked) => looked,
                Err(error) => {
                    recovery.failed.push(("look at what the pool holds".to_owned(), error));
                    continue;
                }
            };
            let plan = plan::plan(held.record(), &inventory, &boot_id, pool);
            self.carry_out(held, plan, turn.as_ref(), &mut recovery);
        }
        Ok(recovery)
    }

    /// What the pool holds that the record of a metadata snapshot is about, and the turn at it.
    fn look_at_pool(&self, record: &Record) -> Result<(Option<Turn>, Held), LvmError> {
        let Body::MetadataSnapshot(body) = &record.body else { return Ok((None, Held::Nothing)) };
        let deadline = Instant::now() + metadata_snapshot::WAIT_LIMIT;
        let turn = Turn::wait(self, body, deadline, &|| true)?;
        Ok((Some(turn), metadata_snapshot::held(self, body)?))
    }

    fn carry_out(
        &self,
        held: HeldRecord,
        plan: Plan,
        turn: Option<&Turn>,
        recovery: &mut Recovery,
    ) {
        let nonce = held.nonce().clone();
        if let Some(why) = plan.left {
            recovery.left.push(LeftAlone { record: nonce.to_string(), why });
        }
        let mut held = Some(held);
        for step in plan.steps {
            let sentence = step.to_string();
            match self.do_step(step, &nonce, turn, &mut held) {
                Ok(()) => recovery.done.push(sentence),
                Err(error) => {
                    recovery.failed.push((sentence, error));
                    return;
                }
            }
        }
    }

    fn do_step(
        &self,
        step: Step,
        nonce: &Nonce,
        turn: Option<&Turn>,
        held: &mut Option<HeldRecord>,
    ) -> Result<(), LvmError> {
        match step {
            Step::Unmount { path, device } => mount::unmount(&path, device),
            Step::RemoveFolder { path } => mount::remove_folder(&path),
            Step::Deactivate { volume } => activation::deactivate(self, &volume),
            Step::RemoveVolume { volume } => {
                activation::remove(self, &volume.vg, &volume.uuid, &nonce.tag()?)
            }
            Step::RemoveTag { volume } => match held {
                Some(held) => target::remove_tag(self, &volume, held),
                None => Ok(()),
            },
            Step::ReleaseMetadata { pool } => match turn {
                Some(turn) => metadata_snapshot::release(self, &pool, turn),
                None => Ok(()),
            },
            Step::ForgetMount => match held {
                Some(held) => match held.record().body.clone() {
                    Body::Snapshot(body) => {
                        quiet::end(held.record())?;
                        Ok(held.update(Body::Snapshot(SnapshotBody { mount: None, ..body }))?)
                    }
                    _ => Ok(()),
                },
                None => Ok(()),
            },
            Step::ForgetRecord => match held.take() {
                Some(held) => {
                    quiet::end(held.record())?;
                    Ok(held.remove()?)
                }
                None => Ok(()),
            },
        }
    }
}
