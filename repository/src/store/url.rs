//! Addresses of stores.

use std::path::PathBuf;
use std::sync::Arc;

use thinmover_io::IoEngine;

use super::{DirectoryStore, S3Options, S3Store, Store};
use crate::error::{Error, Result};

/// As [`open_store_with`] where nothing but the address is known.
///
/// # Errors
/// As [`open_store_with`].
pub fn open_store(url: &str, io: &IoEngine) -> Result<Arc<dyn Store>> {
    open_store_with(url, io, &S3Options::default())
}

/// The store that `url` names: `file:///absolute/path`, or `s3://bucket/prefix` as `s3` says. It
/// need not exist; opening or making a repository in it says. What is large in a directory is
/// written by `io`.
///
/// # Errors
/// `UnsupportedUrl`, which says how to write it, and what of `s3` cannot be used.
pub fn open_store_with(url: &str, io: &IoEngine, s3: &S3Options) -> Result<Arc<dyn Store>> {
    open(url, io, s3).map_err(|reason| Error::UnsupportedUrl { url: url.to_owned(), reason })
}

fn open(url: &str, io: &IoEngine, s3: &S3Options) -> std::result::Result<Arc<dyn Store>, String> {
    if url.starts_with("s3://") {
        return Ok(Arc::new(S3Store::new(url, s3)?));
    }
    let path = directory_of(url)?;
    if *s3 != S3Options::default() {
        return Err("S3 options are given, and it is no s3:// address".to_owned());
    }
    Ok(Arc::new(DirectoryStore::new(path, io.clone())))
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
    if url.starts_with('/') {
        return Err(format!("a directory is written as an address: file://{url}"));
    }
    Err("a directory is written file:///absolute/path, a bucket s3://bucket/prefix".to_owned())
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
            ("s3://bucket/x", "no credentials are named"),
            ("s3://bucket//x", "prefix"),
            ("", "file:///absolute/path"),
        ] {
            let message = open_store(bad, &io).unwrap_err().to_string();
            assert!(message.contains(says), "{bad}: {message}");
        }
    }

    #[test]
    fn options_of_a_bucket_are_no_options_of_a_directory() {
        let s3 = S3Options { region: Some("eu-west-1".to_owned()), ..S3Options::default() };
        let error = open_store_with("file:///srv/b", &IoEngine::default(), &s3).unwrap_err();
        assert!(error.to_string().contains("no s3:// address"), "{error}");
    }
}
