//! Listing, a page at a time.

use std::ops::ControlFlow;

use object_store::ListResult;
use object_store::list::{PaginatedListOptions, PaginatedListStore};

use super::client::Client;
use super::retry::attempts;
use crate::store::{ListEntry, StoreErrorKind, StoreResult};

pub(super) fn objects(
    client: &Client,
    prefix: &str,
    visit: &mut dyn FnMut(ListEntry) -> ControlFlow<()>,
) -> StoreResult<()> {
    pages(client, prefix, false, &mut |page| {
        for object in page.objects {
            let Some(key) = client.key(&object.location) else { continue };
            let entry = ListEntry { key: key.to_owned(), size_bytes: object.size };
            visit(entry)?;
        }
        ControlFlow::Continue(())
    })
}

pub(super) fn folders(client: &Client, prefix: &str) -> StoreResult<Vec<String>> {
    let mut folders = Vec::new();
    pages(client, prefix, true, &mut |page| {
        let keys = page.common_prefixes.iter().filter_map(|path| client.key(path));
        folders.extend(keys.filter_map(|key| key.strip_prefix(prefix)).map(str::to_owned));
        ControlFlow::Continue(())
    })?;
    Ok(folders)
}

/// Shows page after page until `visit` breaks; none is asked for beyond.
fn pages(
    client: &Client,
    prefix: &str,
    is_by_folder: bool,
    visit: &mut dyn FnMut(ListResult) -> ControlFlow<()>,
) -> StoreResult<()> {
    let folder = client.folder(prefix)?;
    let mut page_token = None;
    loop {
        let options = || PaginatedListOptions {
            delimiter: is_by_folder.then_some("/".into()),
            page_token: page_token.clone(),
            ..PaginatedListOptions::default()
        };
        let folder = Some(folder.as_str()).filter(|folder| !folder.is_empty());
        let listed = || client.s3().list_paginated(folder, options());
        let tried = client.wait(attempts(client, PAGE_BYTES, listed));
        let page = tried.result.map_err(|failed| failed.on_read(client, "list", prefix))?;
        if visit(page.result).is_break() {
            return Ok(());
        }
        match page.page_token {
            None => return Ok(()),
            next if next == page_token => {
                let reason = Some("the store goes on with the page before".to_owned());
                return Err(client.error(StoreErrorKind::Other, "list", prefix, reason));
            }
            next => page_token = next,
        }
    }
}

/// A thousand objects in XML.
const PAGE_BYTES: u64 = 512 << 10;
