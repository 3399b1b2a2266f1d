//! From what a user or a caller names to an open repository.

use std::path::Path;
use std::sync::Arc;

use thinmover_io::IoEngine;
use thinmover_repository::{Passphrase, Repository, Store, open_store};

use crate::config::Settings;
use crate::failure::{Code, Failure, Result};
use crate::host;
use crate::passphrase;

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location<'a> {
    pub(crate) url: &'a str,
    /// As configured with it.
    pub(crate) password_file: Option<&'a Path>,
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
        Some(url) if is_url(url) => Ok(Location { url, password_file: None }),
        Some(name) => {
            let configured = settings.repositories.get(name).ok_or_else(|| {
                usage(format!("`{name}` is neither a configured repository nor a URL"))
            })?;
            let password_file = configured.password_file.as_deref();
            Ok(Location { url: &configured.url, password_file })
        }
    }
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
    unlock(open_store(location.url, io)?, &passphrase)
}

/// Opens a repository as this host.
///
/// # Errors
/// What the repository reports.
pub(crate) fn unlock(store: Arc<dyn Store>, passphrase: &Passphrase) -> Result<Repository> {
    Ok(Repository::open(store, passphrase)?.with_client(&host::name()))
}
