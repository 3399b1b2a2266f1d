//! Stores in buckets.

use std::sync::Arc;
use std::time::Duration;

use thinmover_io::IoEngine;
use thinmover_repository::Store;
use thinmover_repository::store::{S3Options, open_store_with};

use super::server::{BUCKET, Server};

/// How the server is reached.
pub(crate) fn bucket_options(server: &Server) -> S3Options {
    S3Options {
        endpoint: Some(server.endpoint()),
        credentials_file: Some(server.credentials_file()),
        attempt_timeout: Duration::from_secs(20),
        ..S3Options::default()
    }
}

pub(crate) fn open_bucket(prefix: &str, options: &S3Options) -> Arc<dyn Store> {
    open_store_with(&format!("s3://{BUCKET}/{prefix}"), &IoEngine::default(), options).unwrap()
}
