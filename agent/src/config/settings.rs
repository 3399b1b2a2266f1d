//! Validated settings, with the defaults that hold without any file.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use thinmover_lvm::{Percent, PoolLimits};

use super::fragment::Fragment;
use super::size::Size;
use crate::stream::Limits;

/// Everything a job needs to know about how this host is set up.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) state_dir: PathBuf,
    pub(crate) runtime_dir: PathBuf,
    pub(crate) repositories: BTreeMap<String, RepositorySettings>,
    /// Always a key of `repositories`.
    pub(crate) default_repository: Option<String>,
    /// How full a thin pool may be for a job to start or go on.
    pub(crate) pool_limits: PoolLimits,
    pub(crate) limits: Limits,
    /// What the deduplication index may take, in bytes.
    pub(crate) index_memory_bytes: usize,
    pub(crate) lvm_command_timeout: Duration,
}

/// A repository under a name.
#[derive(Clone, Debug)]
pub(crate) struct RepositorySettings {
    pub(crate) url: String,
    pub(crate) password_file: Option<PathBuf>,
}

impl Settings {
    /// Checks what the merged files say and fills in the defaults.
    ///
    /// # Errors
    /// One line that names the key and what is allowed.
    pub(super) fn new(fragment: Fragment) -> Result<Self, String> {
        let repositories = fragment
            .repositories
            .into_iter()
            .map(|(name, repository)| {
                let url = repository
                    .url
                    .ok_or_else(|| format!("`repositories.{name}.url` is missing"))?;
                Ok((name, RepositorySettings { url, password_file: repository.password_file }))
            })
            .collect::<Result<BTreeMap<_, _>, String>>()?;
        if let Some(name) = &fragment.default_repository
            && !repositories.contains_key(name)
        {
            return Err(format!("`default_repository` names `{name}`, which is not defined"));
        }
        let only = || (repositories.len() == 1).then(|| repositories.keys().next().cloned());
        let default_repository = fragment.default_repository.or_else(|| only().flatten());

        let (pool, defaults) = (fragment.pool, PoolLimits::default());
        let workers = workers(fragment.data_path.workers)?;
        let buffer_memory =
            memory("data_path.buffer_memory", fragment.data_path.buffer_memory, 32 << 20)?;
        Ok(Self {
            state_dir: fragment.state_dir.unwrap_or_else(|| "/var/lib/thinmover".into()),
            runtime_dir: fragment.runtime_dir.unwrap_or_else(|| "/run/thinmover".into()),
            default_repository,
            repositories,
            pool_limits: PoolLimits {
                data: percent("pool.max_data_percent", pool.max_data_percent, defaults.data)?,
                metadata: percent(
                    "pool.max_metadata_percent",
                    pool.max_metadata_percent,
                    defaults.metadata,
                )?,
            },
            limits: Limits::within(buffer_memory, workers),
            index_memory_bytes: memory(
                "data_path.index_memory",
                fragment.data_path.index_memory,
                64 << 20,
            )?,
            lvm_command_timeout: Duration::from_secs(
                fragment.lvm.command_timeout_seconds.unwrap_or(120),
            ),
        })
    }
}

fn workers(configured: Option<usize>) -> Result<NonZeroUsize, String> {
    let available = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    match configured {
        None => {
            Ok(NonZeroUsize::new(available.get().min(Limits::MAX_WORKERS)).unwrap_or(available))
        }
        Some(workers) => NonZeroUsize::new(workers)
            .filter(|workers| workers.get() <= 64)
            .ok_or_else(|| format!("`data_path.workers` is {workers}; allowed is 1 to 64")),
    }
}

fn percent(key: &str, configured: Option<u16>, default: Percent) -> Result<Percent, String> {
    match configured {
        None => Ok(default),
        Some(value @ 1..=100) => Ok(Percent::new(value)),
        Some(value) => Err(format!("`{key}` is {value}; allowed is 1 to 100")),
    }
}

fn memory(key: &str, configured: Option<Size>, default: usize) -> Result<usize, String> {
    let Some(size) = configured else { return Ok(default) };
    usize::try_from(size.bytes)
        .ok()
        .filter(|bytes| (8 << 20..=4 << 30).contains(bytes))
        .ok_or_else(|| format!("`{key}` is {} bytes; allowed is 8MiB to 4GiB", size.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        Settings::new(toml::from_str(text).unwrap())
    }

    #[test]
    fn no_file_at_all_is_a_valid_configuration() {
        let settings = settings("").unwrap();
        assert_eq!(settings.state_dir, PathBuf::from("/var/lib/thinmover"));
        assert!(settings.default_repository.is_none());
    }

    #[test]
    fn the_only_repository_is_the_default_one() {
        let one = "[repositories.home]\nurl = \"file:///backup\"\n";
        assert_eq!(settings(one).unwrap().default_repository.as_deref(), Some("home"));
        let two = format!("{one}[repositories.away]\nurl = \"file:///away\"\n");
        assert!(settings(&two).unwrap().default_repository.is_none());
        let named = format!("default_repository = \"away\"\n{two}");
        assert_eq!(settings(&named).unwrap().default_repository.as_deref(), Some("away"));
    }

    #[test]
    fn a_bad_value_is_refused_by_key_and_with_what_is_allowed() {
        for (text, key) in [
            ("default_repository = \"x\"", "default_repository"),
            ("[repositories.x]", "repositories.x.url"),
            ("[pool]\nmax_data_percent = 0", "pool.max_data_percent"),
            ("[pool]\nmax_metadata_percent = 101", "pool.max_metadata_percent"),
            ("[data_path]\nworkers = 0", "data_path.workers"),
            ("[data_path]\nbuffer_memory = \"1KiB\"", "data_path.buffer_memory"),
            ("[data_path]\nindex_memory = \"1TiB\"", "data_path.index_memory"),
        ] {
            let error = settings(text).unwrap_err();
            assert!(error.contains(key), "{text}: {error}");
        }
    }
}
