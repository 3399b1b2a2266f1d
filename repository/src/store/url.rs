//! Addresses of stores.

use std::path::PathBuf;
use std::sync::Arc;

use thinmover_io::IoEngine;

use super::{DirectoryStore, Store};
use crate::error::{Error, Result};

/// The store that `url` names: `file:///absolute/path`. It need not exist; opening or making a
/// repository in it says. What is large there is written by `io`.
///
/// # Errors
/// `UnsupportedUrl`, which says how to write it.
pub fn open_store(url: &str, io: &IoEngine) -> Result<Arc<dyn Store>> {
    directory_of(url)
        .map(|path| Arc::new(DirectoryStore::new(path, io.clone())) as Arc<dyn Store>)
        .map_err(|reason| Error::UnsupportedUrl { url: url.to_owned(), reason })
}

fn directory_of(url: &str) -> std::result::Result<PathBuf, String> {
    if let Some(path) = url.strip_prefix("file://") {
        if !path.starts_with('/') {
            return Err("a directory is written file:///absolute/path".to_owned());
        }
        if path.contains(['%', '?', '#', '\0']) {
            return Err("the characters % ? # have no meaning in a file:// address here; \
                        choose a path without them"
                .to_owned());
        }
        return Ok(PathBuf::from(path));
    }
    if url.starts_with("s3://") {
        return Err("object stores are not supported by this build yet".to_owned());
    }
    if url.starts_with('/') {
        return Err(format!("a directory is written as an address: file://{url}"));
    }
    Err("a directory is written file:///absolute/path".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_file_addresses_are_accepted() {
        assert_eq!(directory_of("file:///srv/b"), Ok(PathBuf::from("/srv/b")));
        let io = IoEngine::default();
        for (bad, says) in [
            ("/srv/b", "file:///srv/b"),
            ("srv", "file:///absolute/path"),
            ("file://srv", "file:///absolute/path"),
            ("file:///a%20b", "%"),
            ("s3://bucket/x", "not supported by this build yet"),
            ("", "file:///absolute/path"),
        ] {
            let message = open_store(bad, &io).unwrap_err().to_string();
            assert!(message.contains(says), "{bad}: {message}");
        }
    }
}
