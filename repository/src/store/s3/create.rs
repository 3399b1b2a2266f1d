//! Creating and deleting objects.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::client::Client;
use super::read;
use super::retry::{Tried, attempts};
use crate::store::{Creation, StoreErrorKind, StoreResult};

/// Creates an object in one request: conditional, where that is wanted.
pub(super) fn create(client: &Client, key: &str, bytes: Vec<u8>) -> StoreResult<Creation> {
    let path = client.path("create", key)?;
    let bytes = Bytes::from(bytes);
    let mut tried = client.wait(put(client, &path, &bytes, client.conditions().are_sent()));
    if let Err(failed) = &tried.result
        && failed.is_not_implemented
        && client.conditions().disprove()
    {
        let earlier = tried.in_doubt;
        tried = client.wait(put(client, &path, &bytes, false));
        tried.in_doubt |= earlier;
    }
    let Tried { result, in_doubt } = tried;
    match result {
        Ok(()) if in_doubt => Ok(Creation::CreatedInDoubt),
        Ok(()) => Ok(Creation::Created),
        Err(failed) if failed.is_precondition && !in_doubt => Ok(Creation::AlreadyExists),
        // There is one: ours, from an attempt whose answer was lost, or another's.
        Err(failed) if failed.is_precondition => match read::get(client, key, bytes.len() as u64) {
            Ok(found) if found == bytes => Ok(Creation::CreatedInDoubt),
            Ok(_) => Ok(Creation::AlreadyExistsInDoubt),
            Err(error) if error.kind == StoreErrorKind::TooLarge => {
                Ok(Creation::AlreadyExistsInDoubt)
            }
            Err(_) => Err(failed.on_write(client, "create", key, in_doubt)),
        },
        Err(failed) => Err(failed.on_write(client, "create", key, in_doubt)),
    }
}

async fn put(client: &Client, path: &Path, bytes: &Bytes, is_conditional: bool) -> Tried<()> {
    let mode = if is_conditional { PutMode::Create } else { PutMode::Overwrite };
    attempts(client, bytes.len() as u64, || async {
        let options = PutOptions::from(mode.clone());
        client.s3().put_opts(path, bytes.clone().into(), options).await.map(drop)
    })
    .await
}

/// Deletes an object. That it is not there is told only where the store tells.
pub(super) fn delete(client: &Client, key: &str) -> StoreResult<()> {
    let path = client.path("delete", key)?;
    let Tried { result, in_doubt } = client.wait(attempts(client, 0, || client.s3().delete(&path)));
    match result {
        Ok(()) => Ok(()),
        // An earlier attempt of ours did it.
        Err(failed) if failed.kind == StoreErrorKind::NotFound && in_doubt => Ok(()),
        Err(failed) => Err(failed.on_write(client, "delete", key, in_doubt)),
    }
}
