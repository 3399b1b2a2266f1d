//! From what a user or a caller names to an open repository.

use std::path::Path;
use std::sync::Arc;

use thinmover_io::IoEngine;
use thinmover_repository::{Domain, Passphrase, Repository, S3Options, Store, open_store_with};

use crate::config::{RepositorySettings, Settings};
use crate::failure::{Code, Failure, Result};
use crate::host;
use crate::passphrase;

/// The systemd credential a unit can hand in where no file with an access key is configured.
const S3_CREDENTIAL: &str = "thinmover.s3-credentials";

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location<'a> {
    pub(crate) url: &'a str,
    /// As configured with it.
    pub(crate) password_file: Option<&'a Path>,
    /// How it is reached if it is a bucket.
    pub(crate) s3: S3Options,
    /// Whether it was named, and not given as a URL.
    pub(crate) is_configured: bool,
}

impl<'a> Location<'a> {
    fn at(url: &'a str) -> Self {
        Self { url, password_file: None, s3: S3Options::default(), is_configured: false }
    }

    fn of(configured: &'a RepositorySettings) -> Self {
        Self {
            url: &configured.url,
            password_file: configured.password_file.as_deref(),
            s3: configured.s3.clone(),
            is_configured: true,
        }
    }
}

/// Whether a caller gave a URL, not a configured name.
pub(crate) fn is_url(repository: &str) -> bool {
    repository.contains("://")
}

/// Finds the repository that is named, by its configured name or a URL, or the configured default.
///
/// # Errors
/// `Usage` when there is no such name, or none is named and none is the default.
pub(crate) fn locate<'a>(settings: &'a Settings, repo: Option<&'a str>) -> Result<Location<'a>> {
    let usage = |message: String| {
        Failure::new(Code::Usage, message)
            .hint("name it by --repo file:///path, or configure it under [repositories.NAME]")
    };
    match repo.or(settings.default_repository.as_deref()) {
        None => Err(usage("no repository is named and none is configured as default".into())),
        Some(url) if is_url(url) => Ok(Location::at(url)),
        Some(name) => {
            let configured = settings.repositories.get(name).ok_or_else(|| {
                usage(format!("`{name}` is neither a configured repository nor a URL"))
            })?;
            Ok(Location::of(configured))
        }
    }
}

/// Where a repository is to be made: at a configured name, or a URL.
pub(crate) fn locate_new<'a>(settings: &'a Settings, repo: &'a str) -> Location<'a> {
    settings.repositories.get(repo).map_or_else(|| Location::at(repo), Location::of)
}

/// The store at a place. What is large in a directory is written by `io`.
///
/// # Errors
/// `Usage` for an address or options that cannot be used.
pub(crate) fn open_store(location: &Location, io: &IoEngine) -> Result<Arc<dyn Store>> {
    let mut s3 = location.s3.clone();
    if location.url.starts_with("s3://") && s3.credentials_file.is_none() {
        s3.credentials_file = passphrase::credential(S3_CREDENTIAL);
    }
    Ok(open_store_with(location.url, io, &s3)?)
}

/// Opens a repository without asking anybody: with the passphrase given, else from its configured
/// file, else from the systemd credential.
///
/// # Errors
/// As [`locate`], `Usage` where there is no passphrase, and what the repository reports.
pub(crate) fn open(
    settings: &Settings,
    io: &IoEngine,
    repo: Option<&str>,
    passphrase: Option<Passphrase>,
) -> Result<Repository> {
    let location = locate(settings, repo)?;
    let passphrase = match passphrase {
        Some(passphrase) => passphrase,
        None => passphrase::from_file_or_credential(location.password_file)?.ok_or_else(|| {
            Failure::new(Code::Usage, format!("no passphrase was given for {}", location.url)).hint(
                "configure password_file with the repository, or give one with --password-file",
            )
        })?,
    };
    unlock(settings, open_store(&location, io)?, &passphrase)
}

/// Opens a repository as this host, with what this host keeps of it.
///
/// # Errors
/// What the repository reports.
pub(crate) fn unlock(
    settings: &Settings,
    store: Arc<dyn Store>,
    passphrase: &Passphrase,
) -> Result<Repository> {
    let repository = Repository::open(store, passphrase)?
        .with_client(&host::name())
        .with_cache(&settings.cache_dir, settings.cache_bytes);
    Ok(match host::known_id(&settings.state_dir) {
        Some(host) => repository.with_home(&Domain(host.to_string())),
        None => repository,
    })
}
