//! Reading objects, whole or in part.

use std::cell::Cell;
use std::ops::Range;
use std::pin::Pin;

use futures_core::Stream;

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
    // An attempt takes the memory along; only one that is given up half way loses it.
    let memory = Cell::new(std::mem::take(out));
    let options =
        || GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
    let tried = client.wait(attempts(client, length.min(EXPECTED_BYTES_MAX), || async {
        let found = match client.s3().get_opts(&path, options()).await {
            Ok(found) => found,
            Err(error) if is_whole_answer(&error) => client.s3().get(&path).await?,
            Err(error) => return Err(error),
        };
        piece(found, &range, &memory).await
    }));
    match read(client, key, tried)? {
        Read::Whole(()) => {
            *out = memory.take();
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

/// Reads `range` out of a body that holds it.
async fn piece(
    found: GetResult,
    range: &Range<u64>,
    memory: &Cell<RangeBuffer>,
) -> object_store::Result<Read<()>> {
    let length = usize::try_from(range.end - range.start);
    // A server cuts a range at the object's end, or leaves it out of account.
    let (Ok(length), true) =
        (length, found.meta.size >= range.end && found.range.start <= range.start)
    else {
        return Ok(Read::Unfit);
    };
    let mut skip = usize::try_from(range.start - found.range.start).unwrap_or(usize::MAX);
    let (mut out, mut filled) = (memory.take(), 0);
    let room = out.room(length);
    let mut body = found.into_stream();
    while filled < length {
        let next = std::future::poll_fn(|context| Pin::new(&mut body).poll_next(context)).await;
        let Some(piece) = next.transpose()? else { break };
        let wanted = piece.get(skip.min(piece.len())..).unwrap_or_default();
        skip -= piece.len() - wanted.len();
        let wanted = &wanted[..wanted.len().min(length - filled)];
        room[filled..filled + wanted.len()].copy_from_slice(wanted);
        filled += wanted.len();
    }
    memory.set(out);
    // The length in the answer's head was another.
    Ok(if filled == length { Read::Whole(()) } else { Read::Unfit })
}

/// Whether a server answered a range with the whole object; the library takes that for an error.
fn is_whole_answer(error: &object_store::Error) -> bool {
    super::attempt::innermost(error).contains("non-partial response")
}

fn read<T>(client: &Client, key: &str, tried: Tried<T>) -> StoreResult<T> {
    tried.result.map_err(|failed: Failed| failed.on_read(client, "read", key))
}
