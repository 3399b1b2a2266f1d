//! Large objects: sent in parts while they are made, one part on its way and one being filled.

use bytes::Bytes;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use tokio::task::JoinHandle;

use super::client::Client;
use super::create::create;
use super::failure::Failed;
use super::read;
use super::retry::{Tried, attempts, within};
use crate::store::{Creation, ObjectWriter, StoreErrorKind, StoreResult};

/// Every part but the last has this length. S3 wants at least 5 MiB, and at most 10,000 parts.
/// Six make a pack, and twice two are little enough for two workers in the default memory.
const PART_BYTES: usize = 6 << 20;
/// One part on its way and one being filled, instead of three writes of 1 MiB.
pub(super) const MEMORY_BYTES: usize = 2 * PART_BYTES - (3 << 20);

type Sent = Result<PartId, Failed>;

/// An object in the making. What fits into one part is created in one request, and conditionally;
/// the name of a larger one must be the caller's alone.
pub(super) struct S3Writer {
    client: Client,
    key: String,
    path: Path,
    /// Room to begin with: what is expected, up to a part.
    room_bytes: usize,
    filling: Vec<u8>,
    upload: Option<Upload>,
    /// Whether an append failed: a part is missing.
    has_failed: bool,
}

/// An upload by parts that has begun and neither been completed nor given up.
struct Upload {
    id: String,
    parts: Vec<PartId>,
    sent_bytes: u64,
    on_its_way: Option<JoinHandle<Sent>>,
}

impl S3Writer {
    pub(super) fn new(client: Client, key: &str, expected_bytes: u64) -> StoreResult<Self> {
        let path = client.path("create", key)?;
        let room_bytes = usize::try_from(expected_bytes).unwrap_or(PART_BYTES).min(PART_BYTES);
        let (key, filling) = (key.to_owned(), Vec::new());
        Ok(Self { client, key, path, room_bytes, filling, upload: None, has_failed: false })
    }

    /// Sends what has been filled as the next part, once the one before it has arrived.
    fn send(&mut self) -> StoreResult<()> {
        let part = Bytes::from(std::mem::take(&mut self.filling));
        self.receive()?;
        if self.upload.is_none() {
            self.upload = Some(self.begin()?);
        }
        let Some(upload) = &mut self.upload else { return Ok(()) };
        upload.sent_bytes += part.len() as u64;
        let (client, path) = (self.client.clone(), self.path.clone());
        let (id, number) = (upload.id.clone(), upload.parts.len());
        upload.on_its_way = Some(self.client.handle().spawn(async move {
            let tried = attempts(&client, part.len() as u64, || {
                client.s3().put_part(&path, &id, number, part.clone().into())
            });
            // A part that arrives late is one that nobody completes: there is no doubt in it.
            tried.await.result
        }));
        Ok(())
    }

    fn begin(&self) -> StoreResult<Upload> {
        let client = &self.client;
        // One that was begun unheard holds nothing; the bucket's rule for incomplete ones ends it.
        let tried = client.wait(attempts(client, 0, || client.s3().create_multipart(&self.path)));
        let id = tried.result.map_err(|failed| failed.on_read(client, "create", &self.key))?;
        Ok(Upload { id, parts: Vec::new(), sent_bytes: 0, on_its_way: None })
    }

    /// Waits for the part on its way.
    fn receive(&mut self) -> StoreResult<()> {
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let Some(on_its_way) = upload.on_its_way.take() else { return Ok(()) };
        let part = match self.client.wait(on_its_way) {
            Ok(sent) => sent.map_err(|failed| failed.on_read(&self.client, "write", &self.key))?,
            Err(error) => {
                let reason = Some(format!("sending a part ended: {error}"));
                return Err(self.client.error(StoreErrorKind::Other, "write", &self.key, reason));
            }
        };
        upload.parts.push(part);
        Ok(())
    }

    fn complete(&mut self) -> StoreResult<Creation> {
        let Some(upload) = &self.upload else {
            return create(&self.client, &self.key, std::mem::take(&mut self.filling));
        };
        let (client, path) = (&self.client, &self.path);
        let tried = attempts(client, 0, || {
            client.s3().complete_multipart(path, &upload.id, upload.parts.clone())
        });
        let Tried { result, in_doubt } = client.wait(tried);
        let creation = match result {
            Ok(_) if in_doubt => Creation::CreatedInDoubt,
            Ok(_) => Creation::Created,
            // An earlier attempt completed it, or somebody gave it up.
            Err(failed) if failed.is_no_upload && in_doubt => match read::size(client, &self.key) {
                Ok(size) if size == upload.sent_bytes => Creation::CreatedInDoubt,
                _ => return Err(failed.on_write(client, "write", &self.key, in_doubt)),
            },
            Err(failed) => return Err(failed.on_write(client, "write", &self.key, in_doubt)),
        };
        self.upload = None;
        Ok(creation)
    }
}

impl ObjectWriter for S3Writer {
    fn append(&mut self, bytes: &[u8]) -> StoreResult<()> {
        self.check()?;
        self.has_failed = true;
        self.take(bytes)?;
        self.has_failed = false;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> StoreResult<Creation> {
        self.check()?;
        if self.upload.is_some() {
            self.send()?;
            self.receive()?;
        }
        self.complete()
    }
}

impl S3Writer {
    fn take(&mut self, mut bytes: &[u8]) -> StoreResult<()> {
        while !bytes.is_empty() {
            if self.filling.len() == PART_BYTES {
                self.send()?;
            }
            if self.filling.capacity() == 0 {
                self.filling.reserve_exact(self.room_bytes);
            }
            let (now, later) = bytes.split_at(bytes.len().min(PART_BYTES - self.filling.len()));
            self.filling.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn check(&self) -> StoreResult<()> {
        if !self.has_failed {
            return Ok(());
        }
        let reason = Some("a part of it could not be sent".to_owned());
        Err(self.client.error(StoreErrorKind::Other, "write", &self.key, reason))
    }
}

impl Drop for S3Writer {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        if let Some(on_its_way) = upload.on_its_way {
            on_its_way.abort();
        }
        // Nothing of it can be seen. One that cannot be given up now is the bucket's rule's to end.
        let abort = self.client.s3().abort_multipart(&self.path, &upload.id);
        let limit = self.client.limits().attempt;
        let _ = self.client.wait(within(limit, self.client.give_up(), abort));
    }
}
