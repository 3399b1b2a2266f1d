//! The metadata snapshot of a thin pool: a moment of its metadata that the kernel keeps as it is, at
//! the cost of copying what changes meanwhile, until it is told to let go. It is how a live pool's
//! metadata can be read, and there is one in a pool at a time.
//!
//! It outlives the process that asked for it, and a reboot, and holds back metadata blocks. So it is
//! recorded before it is asked for, and [`recovery`](crate::recovery) lets go of exactly the one on
//! record. In between, for the time of one status line and one block read, a record says only that
//! one was asked for: what is found then may be another program's and is left alone.

use std::fs::File;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use thinmover_io::DirectFile;

use crate::command::{CommandError, DmPoolMessage, DmThinPool};
use crate::device;
use crate::dm_thin::{FileBlocks, MetadataBlock, MetadataError, Root, ThinMetadata};
use crate::error::LvmError;
use crate::guard::Refusal;
use crate::host::{Lvm, boot_id};
use crate::lock;
use crate::names::dm_name;
use crate::record::{Body, HeldRecord, HeldSuperblock, MetadataSnapshotBody, Nonce};

/// How long the metadata snapshot of somebody else is waited for. Reading a pool's metadata takes
/// seconds.
pub(crate) const WAIT_LIMIT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A metadata snapshot in the hands of the process that asked for it. Dropping it lets go as well as
/// that can be done; what fails then is left to recovery.
pub(crate) struct MetadataSnapshot {
    lvm: Lvm,
    body: MetadataSnapshotBody,
    /// Where its superblock is.
    block: MetadataBlock,
    metadata: Option<ThinMetadata<FileBlocks>>,
    /// `None` once there is nothing left to do.
    record: Option<HeldRecord>,
    turn: Turn,
}

/// What a pool holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// The pool is not active, so nobody can tell, or change it.
    Inactive,
    /// No metadata snapshot.
    Nothing,
    /// This one.
    Snapshot(HeldSuperblock),
}

/// While it lives, no other process of thinmover's asks for the pool's metadata snapshot or lets go
/// of it, nor does a command of one that died.
pub(crate) struct Turn {
    lock: File,
    path: PathBuf,
}

impl MetadataSnapshot {
    /// Asks the pool of `body` for one. `go_on` is asked again and again while it is waited for.
    ///
    /// # Errors
    /// [`Refusal::MetadataHeld`] when another one stays for [`WAIT_LIMIT`],
    /// [`LvmError::Interrupted`] when `go_on` says no, and what fails.
    pub(crate) fn take(
        lvm: &Lvm,
        body: MetadataSnapshotBody,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Self, LvmError> {
        let deadline = Instant::now() + WAIT_LIMIT;
        let turn = Turn::wait(lvm, &body, deadline, go_on)?;
        let record = loop {
            wait_until_free(lvm, &body, deadline, go_on)?;
            match ask(lvm, &body, &turn) {
                // Another program was quicker.
                Err(LvmError::Command(error))
                    if is_refusal(&error) && held_root(lvm, &body)?.flatten().is_some() => {}
                asked => break asked?,
            }
        };
        let block = match held_root(lvm, &body)? {
            Some(Some(block)) => block,
            Some(None) => {
                record.remove()?;
                return Err(vanished(&body));
            }
            // It went inactive, perhaps with it: recovery looks when it is active again.
            None => return Err(vanished(&body)),
        };
        let mut taken =
            Self { lvm: lvm.clone(), body, block, metadata: None, record: Some(record), turn };
        let (metadata, superblock) = read_held(&taken.lvm, &taken.body, block)?;
        taken.metadata = Some(metadata);
        taken.body.taken = Some(superblock);
        if let Some(record) = &mut taken.record {
            record.update(Body::MetadataSnapshot(taken.body.clone()))?;
        }
        Ok(taken)
    }

    /// Shows `read` the metadata, then lets go. What `read` made of it is only returned when the
    /// metadata snapshot was there until then.
    ///
    /// # Errors
    /// Those of `read`, [`MetadataError::Changed`], and what fails.
    pub(crate) fn read<T>(
        mut self,
        read: impl FnOnce(&mut ThinMetadata<FileBlocks>) -> Result<T, LvmError>,
    ) -> Result<T, LvmError> {
        let metadata = self.metadata.as_mut().ok_or(MetadataError::Changed)?;
        let made = read(metadata);
        let made = made.and_then(|made| Ok(metadata.check_unchanged().map(|()| made)?));
        let released = self.let_go();
        let made = made?;
        released?;
        Ok(made)
    }

    fn let_go(&mut self) -> Result<(), LvmError> {
        let Some(record) = self.record.take() else { return Ok(()) };
        self.metadata = None;
        match held_root(&self.lvm, &self.body)? {
            Some(Some(block)) if block == self.block => {
                release(&self.lvm, &self.body, &self.turn)?;
            }
            // Another one by now is another program's.
            Some(_) => {}
            // It went inactive, perhaps with it: recovery looks when it is active again.
            None => return Err(vanished(&self.body)),
        }
        Ok(record.remove()?)
    }
}

impl Drop for MetadataSnapshot {
    fn drop(&mut self) {
        // The record stays when this fails, and recovery does it.
        let _ = self.let_go();
    }
}

impl Turn {
    /// Waits for the turn at the pool of `body`.
    ///
    /// # Errors
    /// [`Refusal::MetadataHeld`] after `deadline`, [`LvmError::Interrupted`], and what fails.
    pub(crate) fn wait(
        lvm: &Lvm,
        body: &MetadataSnapshotBody,
        deadline: Instant,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Self, LvmError> {
        let path = lvm.ensure_private_dir("pools")?.join(format!("{}.lock", body.pool.uuid));
        loop {
            let lock = lock::acquire(&path, POLL_INTERVAL)
                .map_err(|source| LvmError::io("lock", &path, source))?;
            if let Some(lock) = lock {
                return Ok(Self { lock, path });
            }
            wait_on(deadline, go_on, || Refusal::MetadataHeld {
                pool: body.alias(),
                why: format!("is being read by another job of thinmover's ({})", path.display()),
            })?;
        }
    }

    /// For a command that is to have it, too.
    fn lent(&self) -> Result<File, LvmError> {
        self.lock.try_clone().map_err(|source| LvmError::io("share", &self.path, source))
    }
}

/// Asks the pool of `body` for a metadata snapshot, on record. After an error that is certain there is no
/// record.
fn ask(lvm: &Lvm, body: &MetadataSnapshotBody, turn: &Turn) -> Result<HeldRecord, LvmError> {
    let nonce = Nonce::random().map_err(|source| LvmError::io("read", "/dev/urandom", source))?;
    let record = lvm.records().create(nonce, &boot_id()?, Body::MetadataSnapshot(body.clone()))?;
    let message = DmPoolMessage::ReserveMetadataSnapshot;
    let Err(error) = lvm.dmsetup().message(&body.dm_uuid(), message, turn.lent()?) else {
        return Ok(record);
    };
    if is_refusal(&error) || !error.may_have_acted() {
        record.remove()?;
    }
    Err(error.into())
}

/// Only an answer is certain: a command that was ended may have got through.
fn is_refusal(error: &CommandError) -> bool {
    matches!(error, CommandError::Failed { status, .. } if status.code().is_some())
}

/// What the pool of `body` holds.
pub(crate) fn held(lvm: &Lvm, body: &MetadataSnapshotBody) -> Result<Held, LvmError> {
    Ok(match held_root(lvm, body)? {
        None => Held::Inactive,
        Some(None) => Held::Nothing,
        Some(Some(block)) => Held::Snapshot(read_held(lvm, body, block)?.1),
    })
}

/// Lets go of the metadata snapshot that the pool holds, whichever it is.
pub(crate) fn release(lvm: &Lvm, body: &MetadataSnapshotBody, turn: &Turn) -> Result<(), LvmError> {
    let message = DmPoolMessage::ReleaseMetadataSnapshot;
    Ok(lvm.dmsetup().message(&body.dm_uuid(), message, turn.lent()?)?)
}

/// How an operator lets go of what the pool holds.
pub(crate) fn release_by_hand(body: &MetadataSnapshotBody) -> String {
    let device = dm_name(&body.vg.name, &body.pool.name);
    format!("dmsetup message {device}-tpool 0 release_metadata_snap")
}

fn wait_until_free(
    lvm: &Lvm,
    body: &MetadataSnapshotBody,
    deadline: Instant,
    go_on: &dyn Fn() -> bool,
) -> Result<(), LvmError> {
    while let Some(block) = held_root(lvm, body)?.flatten() {
        wait_on(deadline, go_on, || Refusal::MetadataHeld {
            pool: body.alias(),
            why: format!(
                "has had a metadata snapshot of another program's (in block {block}) for {} s; if \
                 nothing reads it any more, release it with `{}`",
                WAIT_LIMIT.as_secs(),
                release_by_hand(body)
            ),
        })?;
    }
    Ok(())
}

/// Waits for a moment, unless that is over or not wanted.
fn wait_on(
    deadline: Instant,
    go_on: &dyn Fn() -> bool,
    refusal: impl FnOnce() -> Refusal,
) -> Result<(), LvmError> {
    if !go_on() {
        return Err(LvmError::Interrupted);
    }
    if Instant::now() > deadline {
        return Err(refusal().into());
    }
    thread::sleep(POLL_INTERVAL);
    Ok(())
}

/// Where the superblock is of what the pool holds; `None` when it is not active.
fn held_root(
    lvm: &Lvm,
    body: &MetadataSnapshotBody,
) -> Result<Option<Option<MetadataBlock>>, LvmError> {
    Ok(match lvm.dmsetup().thin_pool(&body.dm_uuid())? {
        None => None,
        Some(DmThinPool::Failed) => {
            return Err(Refusal::PoolUnhealthy {
                pool: body.alias(),
                health: crate::inventory::PoolHealth::Failed,
            }
            .into());
        }
        Some(DmThinPool::Running { held_root, .. }) => Some(held_root.map(MetadataBlock)),
    })
}

/// Opens the metadata device of the running pool at the metadata snapshot in `block`.
fn read_held(
    lvm: &Lvm,
    body: &MetadataSnapshotBody,
    block: MetadataBlock,
) -> Result<(ThinMetadata<FileBlocks>, HeldSuperblock), LvmError> {
    let table = || lvm.dmsetup().thin_pool_table(&body.dm_uuid());
    let number = table()?.ok_or_else(|| vanished(body))?.metadata;
    let (file, path) = device::open_number(number)?;
    // A number can be given away between two looks; the pool's own device cannot while it is open.
    if table()?.is_none_or(|now| now.metadata != number) {
        return Err(vanished(body));
    }
    let file = DirectFile::new(file)
        .and_then(|file| lvm.io().open(file.insist_on_direct()?))
        .map_err(|source| LvmError::io("read", path, source))?;
    let metadata = ThinMetadata::new(FileBlocks::new(file), Root::Held(block))?;
    let superblock = HeldSuperblock { block: block.0, checksum: metadata.superblock().checksum };
    Ok((metadata, superblock))
}

fn vanished(body: &MetadataSnapshotBody) -> LvmError {
    LvmError::Unexpected {
        volume: body.alias(),
        what: "its metadata snapshot, or the pool itself, went away while it was being read".into(),
    }
}
