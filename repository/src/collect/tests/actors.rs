//! What the actors do: small images of few contents, so that they share blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use super::world::{Actor, World};
use crate::collect::{CollectionEnd, MaintainOptions};
use crate::store::Store;
use crate::{
    Domain, Error, Filter, Id, ImageRoot, InitOptions, Manifest, ManifestDraft, Passphrase,
    PassphraseCost, RangeBuffer, ReadLimits, RepackLimits, Repository, Result, Source,
    UploadLimits, VolumeKey,
};

const BLOCK: usize = 64 << 10;

/// An image, by the contents of its blocks; 0 is a hole.
pub(super) type Contents = Vec<u8>;

/// What was promised, for comparison with what is there.
#[derive(Default)]
pub(super) struct Ledger {
    /// Backups whose commit was answered, by id.
    pub(super) committed: BTreeMap<String, Contents>,
    /// Backups that were to be committed; one whose commit was not answered may be listed.
    pub(super) begun: BTreeMap<String, Contents>,
    /// Backups whose deletion was answered.
    pub(super) deleted: Vec<String>,
    /// Backups whose deletion was begun.
    pub(super) doomed: Vec<String>,
    pub(super) failures: Vec<String>,
    /// What happened, so that a test can tell whether it tests anything.
    pub(super) seen: BTreeSet<&'static str>,
}

/// The repository as one actor has it open.
pub(super) struct Client {
    pub(super) world: Arc<World>,
    pub(super) actor: Actor,
    pub(super) repository: Repository,
    pub(super) ledger: Arc<Mutex<Ledger>>,
}

pub(super) fn init(store: Arc<dyn Store>) -> Repository {
    let options =
        InitOptions { passphrase_cost: PassphraseCost::WORTHLESS, ..InitOptions::default() };
    Repository::init(store, &options, &Passphrase::new("secret")).unwrap()
}

/// The block of each content.
static BLOCKS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    (0..8)
        .map(|content| format!("block {content} ").bytes().cycle().take(BLOCK).collect())
        .collect()
});

fn block(content: u8) -> &'static [u8] {
    &BLOCKS[usize::from(content)]
}

/// How an upload stores its blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// What the index object may carry; the rest lies in packs.
    pub(super) carried_bytes: usize,
    /// Whether each block has a pack and an index object of its own.
    pub(super) split: bool,
}

impl Client {
    /// Uploads an image; of the base only what differs.
    pub(super) fn upload(
        &self,
        volume: &str,
        contents: &[u8],
        shape: Shape,
        base: Option<&Manifest>,
    ) -> Result<Manifest> {
        let limits = UploadLimits {
            embedded_bytes: shape.carried_bytes,
            session_entries: if shape.split { 1 } else { 1000 },
            index_memory_bytes: 64 << 10,
            ..UploadLimits::default()
        };
        let volume = VolumeKey(volume.to_owned());
        let upload = self.repository.begin_upload(&Domain("d".into()), &volume, limits)?;
        self.ledger.lock().unwrap().begun.insert(upload.id(), contents.to_vec());
        let image = match base {
            Some(base) => self.store_on_base(&upload, contents, base)?,
            None => self.store_all(&upload, contents, shape)?,
        };
        let manifest = upload.commit(draft(image))?;
        let mut ledger = self.ledger.lock().unwrap();
        ledger.seen.insert("committed");
        ledger.committed.insert(manifest.id.clone(), contents.to_vec());
        Ok(manifest)
    }

    fn store_all(
        &self,
        upload: &crate::Upload,
        contents: &[u8],
        shape: Shape,
    ) -> Result<ImageRoot> {
        let total_bytes = (contents.len() * BLOCK) as u64;
        let mut tree = upload.image_builder(total_bytes, BLOCK as u32)?;
        let mut packer = upload.packer()?;
        for content in contents {
            let id = if *content == 0 { Id::HOLE } else { packer.store_block(block(*content))?.id };
            if shape.split {
                packer.finish()?;
                packer = upload.packer()?;
            }
            tree.push(id)?;
        }
        packer.finish()?;
        tree.finish()
    }

    fn store_on_base(
        &self,
        upload: &crate::Upload,
        contents: &[u8],
        base: &Manifest,
    ) -> Result<ImageRoot> {
        let before = self.ledger.lock().unwrap().begun.get(&base.id).cloned().unwrap_or_default();
        let found = upload.live_backup_at(base.location())?;
        let found = found.ok_or(Error::BackupNotFound { id: base.id.clone() })?;
        let base = upload.base_image(&found, ReadLimits::default())?;
        let mut image = upload.based_image(&base, (contents.len() * BLOCK) as u64)?;
        let mut packer = upload.packer()?;
        for (at, content) in contents.iter().enumerate() {
            if before.get(at) != Some(content) {
                let id = match content {
                    0 => Id::HOLE,
                    content => packer.store_block(block(*content))?.id,
                };
                image.set(at as u64, id)?;
            }
        }
        packer.finish()?;
        image.finish()
    }

    /// Deletes a backup.
    pub(super) fn delete(&self, backup: &Manifest) -> Result<()> {
        self.ledger.lock().unwrap().doomed.push(backup.id.clone());
        self.repository.delete(backup)?;
        self.ledger.lock().unwrap().deleted.push(backup.id.clone());
        Ok(())
    }

    /// Opens a backup and restores it. Once it is open nothing may go wrong, save for a crash.
    pub(super) fn read(&self, backup: &Manifest) {
        let found = self.read_with(&self.repository, backup);
        let expected = self.ledger.lock().unwrap().begun.get(&backup.id).cloned();
        match found {
            None => {}
            Some(Ok(found)) if Some(&found) == expected.as_ref() => self.saw("read"),
            Some(other) => self.fail(format!("backup {} is read as {other:?}", backup.id)),
        }
    }

    /// As [`read`](Self::read), where this actor may not write a mark: the backup must stay.
    pub(super) fn read_unmarked(&self, backup: &Manifest) {
        let repository = self.repository.over(self.world.read_only_store(self.actor));
        let found = self.read_with(&repository, backup);
        let (expected, doomed) = {
            let ledger = self.ledger.lock().unwrap();
            (ledger.begun.get(&backup.id).cloned(), ledger.doomed.contains(&backup.id))
        };
        match found {
            None => {}
            Some(Ok(found)) if Some(&found) == expected.as_ref() => self.saw("read unmarked"),
            Some(Err(_)) if doomed => {}
            Some(other) => self.fail(format!("backup {} is read as {other:?}", backup.id)),
        }
    }

    /// Verifies a backup, with or without a mark. Nothing but a deletion may make that fail.
    pub(super) fn verify(&self, backup: &Manifest, is_marked: bool) {
        let store = match is_marked {
            true => self.world.store(self.actor),
            false => self.world.read_only_store(self.actor),
        };
        let repository = self.repository.over(store);
        let report = repository.verify(backup, &mut |_| ControlFlow::Continue(()));
        let doomed = self.ledger.lock().unwrap().doomed.contains(&backup.id);
        match report {
            _ if self.world.has_crashed(self.actor) => {}
            Ok(report) if report.ok() => self.saw("verified"),
            // It was not there any more when it was opened.
            Err(_) => {}
            Ok(_) if doomed && !is_marked => {}
            Ok(report) => self.fail(format!("backup {} is verified as {report:?}", backup.id)),
        }
    }

    /// `None` where it cannot be opened, or this actor crashes.
    fn read_with(&self, repository: &Repository, backup: &Manifest) -> Option<Result<Contents>> {
        let image = repository.image(backup, ReadLimits::default()).ok()?;
        self.world.note(format!("{} has opened {}", self.actor, &backup.id[..4]));
        let found = contents(&image);
        drop(image);
        (!self.world.has_crashed(self.actor)).then_some(found)
    }

    /// Collects once. What it says is noted.
    pub(super) fn collect(&self, fence: bool) -> Result<CollectionEnd> {
        self.maintain(fence, RepackLimits { bytes: 0, ..RepackLimits::default() })
    }

    /// Collects and repacks. Everything is small here: of two containers one is made.
    pub(super) fn repack(&self, fence: bool) -> Result<CollectionEnd> {
        self.maintain(fence, RepackLimits { small_count: 2, ..RepackLimits::default() })
    }

    fn maintain(&self, fence: bool, repack: RepackLimits) -> Result<CollectionEnd> {
        let options = MaintainOptions {
            fence_after: fence.then_some(Duration::ZERO),
            wait: Duration::ZERO,
            memory_bytes: 1 << 20,
            scratch: std::env::temp_dir(),
            repack,
        };
        let report = self
            .repository
            .maintain(Some(&Domain("d".into())), &options, &mut |_| ControlFlow::Continue(()))?;
        let collected = report.domains.into_iter().next().map(|it| it.1).unwrap_or_default();
        self.world.note(format!("{} collected: {collected:?}", self.actor));
        let mut ledger = self.ledger.lock().unwrap();
        ledger.seen.insert(match collected.end {
            CollectionEnd::Finished if collected.deleted_containers > 0 => "deleted",
            CollectionEnd::Finished => "finished",
            CollectionEnd::Idle => "idle",
            CollectionEnd::Waiting { .. } => "waiting",
            CollectionEnd::Contended => "contended",
        });
        ledger.seen.extend((!collected.fenced.is_empty()).then_some("fenced"));
        ledger.seen.extend((collected.repacked_bytes > 0).then_some("repacked"));
        Ok(collected.end)
    }

    pub(super) fn backups(&self) -> Result<Vec<Manifest>> {
        Ok(self.repository.backups(&Filter::default())?.live)
    }

    fn saw(&self, event: &'static str) {
        self.ledger.lock().unwrap().seen.insert(event);
    }

    pub(super) fn fail(&self, failure: String) {
        self.ledger.lock().unwrap().failures.push(failure);
    }

    /// Everything that is promised, compared with what is there, by a client that is alone.
    pub(super) fn check(&self) {
        let listed = match self.repository.backups(&Filter::default()) {
            Ok(listed) if listed.damaged.is_empty() => listed.live,
            other => return self.fail(format!("the listing is {other:?}")),
        };
        let ids: Vec<&str> = listed.iter().map(|backup| backup.id.as_str()).collect();
        let (committed, deleted, doomed) = {
            let ledger = self.ledger.lock().unwrap();
            (ledger.committed.clone(), ledger.deleted.clone(), ledger.doomed.clone())
        };
        for id in committed.keys() {
            if !doomed.contains(id) && !ids.contains(&id.as_str()) {
                self.fail(format!("backup {id} is not listed any more"));
            }
        }
        for id in deleted {
            if ids.contains(&id.as_str()) {
                self.fail(format!("backup {id} was deleted and is listed"));
            }
        }
        for backup in &listed {
            let expected = self.ledger.lock().unwrap().begun.get(&backup.id).cloned();
            let image = self.repository.image(backup, ReadLimits::default()).unwrap();
            match contents(&image) {
                Ok(found) if Some(&found) == expected.as_ref() => {}
                other => self.fail(format!("listed backup {} is read as {other:?}", backup.id)),
            }
        }
    }
}

/// What an image holds.
fn contents(image: &crate::Image) -> Result<Contents> {
    let mut found = vec![0; image.root().blocks() as usize];
    let (mut walk, mut opener) = (image.walk(), image.opener()?);
    let (mut bytes, mut plain) = (RangeBuffer::default(), Vec::new());
    while let Some(window) = walk.next_window(16)? {
        image.fetch_each(image.plan(&window)?, &mut bytes, &mut |read, bytes| {
            for blob in &read.blobs {
                opener.open(read, bytes, blob, &mut plain)?;
                let content = (0..8).find(|content| block(*content) == plain);
                for &block in &blob.blocks {
                    found[block as usize] =
                        content.ok_or(Error::Internal("recognising a block"))?;
                }
            }
            Ok(())
        })?;
    }
    Ok(found)
}

pub(super) fn draft(image: ImageRoot) -> ManifestDraft {
    ManifestDraft {
        source: Source { host: "host".into(), name: "vg0/lv".into(), ..Source::default() },
        created_at: jiff::Timestamp::UNIX_EPOCH,
        tier: "full".to_owned(),
        reason: String::new(),
        image,
        mapped: None,
        lineage: None,
        read_bytes: 0,
        labels: BTreeMap::new(),
        ttl: None,
        previous: None,
    }
}
