//! Reading objects, whole or in part.

use std::ops::Range;

use object_store::{GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt};

use super::client::Client;
use super::failure::Failed;
use super::retry::{Tried, attempts};
use crate::store::{RangeBuffer, StoreErrorKind, StoreResult};

/// What a read of a body came to.
enum Read<T> {
    Whole(T),
    /// It was not read: the object's length does not fit.
    Unfit,
}

pub(super) fn get(client: &Client, key: &str, max_bytes: u64) -> StoreResult<Vec<u8>> {
    let path = client.path("read", key)?;
    let tried = client.wait(attempts(client, max_bytes.min(EXPECTED_BYTES_MAX), || async {
        let found = client.s3().get(&path).await?;
        if found.meta.size > max_bytes {
            return Ok(Read::Unfit);
        }
        // The length in the answer's head bounds its body.
        found.bytes().await.map(Read::Whole)
    }));
    match read(client, key, tried)? {
        Read::Whole(bytes) => Ok(bytes.into()),
        Read::Unfit => Err(client.error(StoreErrorKind::TooLarge, "read", key, None)),
    }
}

/// What is reckoned with, for the time an attempt may take, where nobody knows.
const EXPECTED_BYTES_MAX: u64 = 8 << 20;

pub(super) fn get_range(
    client: &Client,
    key: &str,
    range: Range<u64>,
    out: &mut RangeBuffer,
) -> StoreResult<()> {
    let too_short = || client.error(StoreErrorKind::TooShort, "read", key, None);
    let length = range.end.checked_sub(range.start).ok_or_else(too_short)?;
    if length == 0 {
        // No range of a request is empty.
        let size = size(client, key)?;
        out.room(0);
        return if range.end <= size { Ok(()) } else { Err(too_short()) };
    }
    let path = client.path("read", key)?;
    let options =
        || GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
    let tried = client.wait(attempts(client, length.min(EXPECTED_BYTES_MAX), || async {
        let found = match client.s3().get_opts(&path, options()).await {
            Ok(found) => found,
            Err(error) if is_whole_answer(&error) => client.s3().get(&path).await?,
            Err(error) => return Err(error),
        };
        piece(found, &range).await
    }));
    match read(client, key, tried)? {
        Read::Whole((bytes, from)) => {
            let end = from + usize::try_from(length).unwrap_or(usize::MAX);
            let bytes = bytes.get(from..end).ok_or_else(too_short)?;
            out.room(bytes.len()).copy_from_slice(bytes);
            Ok(())
        }
        Read::Unfit => Err(too_short()),
    }
}

pub(super) fn size(client: &Client, key: &str) -> StoreResult<u64> {
    let path = client.path("read", key)?;
    let tried = client.wait(attempts(client, 0, || client.s3().head(&path)));
    read(client, key, tried).map(|meta| meta.size)
}

/// A body that holds `range`, and where in it that begins.
async fn piece(
    found: GetResult,
    range: &Range<u64>,
) -> object_store::Result<Read<(bytes::Bytes, usize)>> {
    // A server cuts a range at the object's end, or leaves it out of account.
    if found.meta.size < range.end || found.range.start > range.start {
        return Ok(Read::Unfit);
    }
    let from = usize::try_from(range.start - found.range.start).unwrap_or(usize::MAX);
    found.bytes().await.map(|bytes| Read::Whole((bytes, from)))
}

/// Whether a server answered a range with the whole object; the library takes that for an error.
fn is_whole_answer(error: &object_store::Error) -> bool {
    super::attempt::innermost(error).contains("non-partial response")
}

fn read<T>(client: &Client, key: &str, tried: Tried<T>) -> StoreResult<T> {
    tried.result.map_err(|failed: Failed| failed.on_read(client, "read", key))
}
