//! Validated settings, with the defaults that hold without any file.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Gid;
use thinmover_io::EngineKind;
use thinmover_lvm::{Percent, PoolLimits};
use thinmover_repository::S3Options;

use super::accounts::Accounts;
use super::fragment::{EngineChoice, Fragment, JobsFragment, RepositoryFragment};
use super::grants;
use crate::access::Access;
use crate::failure::{Code, Failure, Result};
use crate::stream::DataPath;

/// Room for the tree nodes of 2 TiB in blocks of 256 KiB.
const CACHE_BYTES: u64 = 256 << 20;

/// Everything the agent and its jobs need to know about how this host is set up.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) state_dir: PathBuf,
    pub(crate) runtime_dir: PathBuf,
    /// Anything in it may be deleted at any time.
    pub(crate) cache_dir: PathBuf,
    /// The most that is kept of one repository, in bytes.
    pub(crate) cache_bytes: u64,
    pub(crate) repositories: BTreeMap<String, RepositorySettings>,
    /// Always a key of `repositories`.
    pub(crate) default_repository: Option<String>,
    /// How full a thin pool may be for a job to start or go on.
    pub(crate) pool_limits: PoolLimits,
    /// Whether an upload's snapshot stays in the pool as the base of the next one.
    pub(crate) keep_base: bool,
    /// The I/O engine that is wanted; `None` leaves the choice to what the kernel allows.
    pub(crate) io_engine: Option<EngineKind>,
    /// What one job may take.
    pub(crate) data_path: DataPath,
    pub(crate) lvm_command_timeout: Duration,
    pub(crate) jobs: JobSettings,
    /// Who may do what over the socket.
    pub(crate) access: Access,
    /// The group the socket is to have; `None` where the host has no such group.
    pub(crate) socket_group: Option<Gid>,
    /// What is wrong with the host or the files without keeping the agent from its work.
    pub(crate) warnings: Vec<String>,
}

/// A repository under a name.
#[derive(Clone, Debug)]
pub(crate) struct RepositorySettings {
    pub(crate) url: String,
    pub(crate) password_file: Option<PathBuf>,
    /// As it is by default where the URL is no bucket's.
    pub(crate) s3: S3Options,
}

/// The bounds of jobs in the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JobSettings {
    /// Jobs that run at a time; each may take what [`Settings::data_path`] allows.
    pub(crate) max_running: usize,
    /// Ended jobs that stay on record.
    pub(crate) keep: usize,
    /// How long a job may take that does not say so itself; `None` is no limit.
    pub(crate) operation_timeout: Option<Duration>,
}

impl Settings {
    /// Checks what the merged files say together and fills in the defaults.
    ///
    /// # Errors
    /// Names the file, the key and what is allowed.
    pub(super) fn new(fragment: Fragment, accounts: &dyn Accounts) -> Result<Self> {
        let repositories = fragment
            .repositories
            .into_iter()
            .map(|(name, repository)| {
                Ok((name.clone(), RepositorySettings::new(&name, repository)?))
            })
            .collect::<Result<BTreeMap<_, _>>>()?;
        if let Some(name) = &fragment.default_repository
            && !repositories.contains_key(name)
        {
            let message = format!("`default_repository` names `{name}`, which is not defined");
            return Err(wrong(&fragment.default_repository_file, &message)
                .hint(format!("define it under [repositories.{name}]")));
        }
        let only = || (repositories.len() == 1).then(|| repositories.keys().next().cloned());
        let default_repository = fragment.default_repository.or_else(|| only().flatten());

        let (pool, data_path) = (fragment.pool, fragment.data_path);
        let defaults = PoolLimits::default();
        let resolved = grants::resolve(fragment.access, accounts);
        Ok(Self {
            state_dir: fragment.state_dir.unwrap_or_else(|| "/var/lib/thinmover".into()),
            runtime_dir: fragment.runtime_dir.unwrap_or_else(|| "/run/thinmover".into()),
            cache_dir: fragment.cache_dir.unwrap_or_else(|| "/var/cache/thinmover".into()),
            cache_bytes: fragment.cache_size.map_or(CACHE_BYTES, |size| size.bytes),
            default_repository,
            repositories,
            pool_limits: PoolLimits {
                data: pool.max_data_percent.map_or(defaults.data, Percent::new),
                metadata: pool.max_metadata_percent.map_or(defaults.metadata, Percent::new),
            },
            keep_base: pool.keep_base.unwrap_or(false),
            io_engine: match data_path.engine {
                None | Some(EngineChoice::Auto) => None,
                Some(EngineChoice::IoUring) => Some(EngineKind::IoUring),
                Some(EngineChoice::Blocking) => Some(EngineKind::Blocking),
            },
            data_path: DataPath {
                memory_bytes: data_path.memory.unwrap_or(DataPath::DEFAULT_MEMORY_BYTES),
                workers: data_path.workers.unwrap_or_else(default_workers),
            },
            lvm_command_timeout: Duration::from_secs(
                fragment.lvm.command_timeout_seconds.unwrap_or(120),
            ),
            jobs: JobSettings::new(&fragment.jobs),
            access: resolved.access,
            socket_group: resolved.socket_gid.map(Gid::from_raw),
            warnings: resolved.warnings,
        })
    }

    /// Where the agent listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.runtime_dir.join("api.sock")
    }

    /// The keys that differ in `new` and that a running agent cannot change: it holds locks, records
    /// and its socket there.
    pub(crate) fn restart_needed(&self, new: &Self) -> Vec<&'static str> {
        let changed = [
            ("state_dir", &self.state_dir, &new.state_dir),
            ("runtime_dir", &self.runtime_dir, &new.runtime_dir),
        ];
        changed.into_iter().filter(|(_, old, new)| old != new).map(|(key, ..)| key).collect()
    }
}

impl RepositorySettings {
    fn new(name: &str, fragment: RepositoryFragment) -> Result<Self> {
        let url = fragment.url.ok_or_else(|| {
            wrong(&fragment.file, &format!("`repositories.{name}.url` is missing"))
                .hint("a repository needs a URL such as \"file:///srv/backup\"")
        })?;
        let key = format!("`repositories.{name}.s3`");
        if fragment.s3.is_some() && !url.starts_with("s3://") {
            let message = format!("{key} is of no use: {url} is no s3:// address");
            return Err(wrong(&fragment.file, &message));
        }
        let s3 = fragment.s3.unwrap_or_default().options();
        let s3 = s3.map_err(|reason| wrong(&fragment.file, &format!("{key}: {reason}")))?;
        Ok(Self { url, password_file: fragment.password_file, s3 })
    }
}

impl JobSettings {
    fn new(fragment: &JobsFragment) -> Self {
        Self {
            max_running: fragment.max_running.unwrap_or(1),
            keep: fragment.keep.unwrap_or(1000),
            operation_timeout: fragment.operation_timeout.filter(|limit| !limit.is_zero()),
        }
    }
}

fn default_workers() -> usize {
    let available = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    available.min(DataPath::DEFAULT_WORKERS_MAX)
}

fn wrong(file: &Path, message: &str) -> Failure {
    Failure::new(Code::Usage, format!("configuration {}: {message}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::super::accounts::tests::TestAccounts;
    use super::*;

    fn settings(text: &str) -> Settings {
        let accounts = TestAccounts { has_thinmover: true };
        Settings::new(toml::from_str(text).unwrap(), &accounts).unwrap()
    }

    #[test]
    fn no_file_at_all_is_a_valid_configuration() {
        let settings = settings("");
        assert_eq!(settings.state_dir, PathBuf::from("/var/lib/thinmover"));
        assert_eq!(settings.socket(), PathBuf::from("/run/thinmover/api.sock"));
        assert!(settings.default_repository.is_none());
        let jobs = JobSettings { max_running: 1, keep: 1000, operation_timeout: None };
        assert_eq!(settings.jobs, jobs);
        assert_eq!(settings.socket_group, Some(Gid::from_raw(995)));
        assert!(settings.warnings.is_empty());
    }

    #[test]
    fn the_only_repository_is_the_default_one() {
        let one = "[repositories.home]\nurl = \"file:///backup\"\n";
        assert_eq!(settings(one).default_repository.as_deref(), Some("home"));
        let two = format!("{one}[repositories.away]\nurl = \"file:///away\"\n");
        assert!(settings(&two).default_repository.is_none());
        let named = format!("default_repository = \"away\"\n{two}");
        assert_eq!(settings(&named).default_repository.as_deref(), Some("away"));
    }

    #[test]
    fn what_is_said_is_what_holds() {
        let settings = settings(
            "[pool]\nmax_data_percent = 70\nkeep_base = true\n[data_path]\nengine = \"io_uring\"\nmemory = \"64MiB\"\nworkers = 3\n\
             [jobs]\nmax_running = 8\nkeep = 0\noperation_timeout = \"90m\"",
        );
        assert_eq!(settings.pool_limits.data, Percent::new(70));
        assert!(settings.keep_base);
        assert_eq!(settings.io_engine, Some(EngineKind::IoUring));
        let data_path = DataPath { memory_bytes: 64 << 20, workers: 3 };
        assert_eq!(settings.data_path, data_path);
        let operation_timeout = Some(Duration::from_secs(5400));
        assert_eq!(settings.jobs, JobSettings { max_running: 8, keep: 0, operation_timeout });
    }

    #[test]
    fn only_the_directories_need_a_restart() {
        let old = settings("");
        assert!(old.restart_needed(&settings("[jobs]\nkeep = 1")).is_empty());
        assert_eq!(old.restart_needed(&settings("state_dir = \"/s\"")), ["state_dir"]);
        let both = settings("state_dir = \"/s\"\nruntime_dir = \"/r\"");
        assert_eq!(old.restart_needed(&both), ["state_dir", "runtime_dir"]);
    }
}
