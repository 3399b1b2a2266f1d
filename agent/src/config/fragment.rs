//! What one configuration file may say. Every key is optional, an unknown one is an error, and a
//! value is in its bounds once it has been read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use thinmover_lvm::VgName;

use super::accounts::Account;
use super::s3::S3Fragment;
use super::size::Size;
use super::values::{absolute_path, between, memory, timeout};

/// One file's content. Later fragments win key by key; see [`Fragment::merge`].
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fragment {
    /// Where jobs and records are kept.
    #[serde(default, deserialize_with = "absolute_path")]
    pub(super) state_dir: Option<PathBuf>,
    /// Where the socket, locks and mounts are.
    #[serde(default, deserialize_with = "absolute_path")]
    pub(super) runtime_dir: Option<PathBuf>,
    /// Where small objects of repositories are kept, so that they need not be asked for again.
    #[serde(default, deserialize_with = "absolute_path")]
    pub(super) cache_dir: Option<PathBuf>,
    /// How much of them; 0 for nothing.
    pub(super) cache_size: Option<Size>,
    /// Which of `repositories` is meant when none is named.
    pub(super) default_repository: Option<String>,
    /// The file that `default_repository` is from.
    #[serde(skip)]
    pub(super) default_repository_file: PathBuf,
    #[serde(default)]
    pub(super) repositories: BTreeMap<String, RepositoryFragment>,
    #[serde(default)]
    pub(super) pool: PoolFragment,
    #[serde(default)]
    pub(super) data_path: DataPathFragment,
    #[serde(default)]
    pub(super) lvm: LvmFragment,
    #[serde(default)]
    pub(super) jobs: JobsFragment,
    #[serde(default)]
    pub(super) access: AccessFragment,
}

/// `[repositories.NAME]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RepositoryFragment {
    /// `file:///path` or `s3://bucket/prefix`
    pub(super) url: Option<String>,
    /// A file whose first line is the passphrase.
    #[serde(default, deserialize_with = "absolute_path")]
    pub(super) password_file: Option<PathBuf>,
    /// How a bucket is reached.
    pub(super) s3: Option<S3Fragment>,
    /// The last file that says something of this repository.
    #[serde(skip)]
    pub(super) file: PathBuf,
}

/// `[pool]`: past the percentages no snapshot is made, and a running job ends.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoolFragment {
    #[serde(default, deserialize_with = "between::<_, _, 1, 100>")]
    pub(super) max_data_percent: Option<u16>,
    #[serde(default, deserialize_with = "between::<_, _, 1, 100>")]
    pub(super) max_metadata_percent: Option<u16>,
    /// Whether an upload's snapshot stays in the pool as the base of the next one.
    pub(super) keep_base: Option<bool>,
}

/// `[data_path]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DataPathFragment {
    /// How volumes and packs are read and written.
    pub(super) engine: Option<EngineChoice>,
    /// Threads that hash, compress and seal.
    #[serde(default, deserialize_with = "between::<_, _, 1, 64>")]
    pub(super) workers: Option<usize>,
    /// What a job may hold in memory, in bytes.
    #[serde(default, deserialize_with = "memory")]
    pub(super) memory: Option<usize>,
}

/// `data_path.engine`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EngineChoice {
    /// io_uring where the kernel allows it, else blocking.
    Auto,
    IoUring,
    Blocking,
}

/// `[lvm]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LvmFragment {
    /// Seconds after which an LVM command is ended.
    #[serde(default, deserialize_with = "between::<_, _, 1, 86_400>")]
    pub(super) command_timeout_seconds: Option<u64>,
}

/// `[jobs]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobsFragment {
    /// Jobs that run at a time.
    #[serde(default, deserialize_with = "between::<_, _, 1, 8>")]
    pub(super) max_running: Option<usize>,
    /// Ended jobs that stay on record.
    #[serde(default, deserialize_with = "between::<_, _, 0, 100_000>")]
    pub(super) keep: Option<usize>,
    /// How long a job may take that does not say so itself.
    #[serde(default, deserialize_with = "timeout")]
    pub(super) operation_timeout: Option<Duration>,
}

/// `[access]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccessFragment {
    /// What callers without the right `admin` may name.
    pub(super) volume_groups: Option<Vec<VgName>>,
    pub(super) read: Option<GrantFragment>,
    pub(super) backup: Option<GrantFragment>,
    pub(super) restore: Option<GrantFragment>,
    pub(super) admin: Option<GrantFragment>,
}

/// `[access.RIGHT]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantFragment {
    pub(super) users: Option<Vec<Account>>,
    pub(super) groups: Option<Vec<Account>>,
}

impl Fragment {
    /// Remembers that `file` says all this, for errors that only show once the files are merged.
    pub(super) fn said_by(mut self, file: &Path) -> Self {
        file.clone_into(&mut self.default_repository_file);
        for repository in self.repositories.values_mut() {
            file.clone_into(&mut repository.file);
        }
        self
    }

    /// Lays `over` over this one: each key it has wins; repositories are merged by name.
    pub(super) fn merge(self, over: Self) -> Self {
        let mut repositories = self.repositories;
        for (name, over) in over.repositories {
            let under = repositories.remove(&name).unwrap_or_default();
            let merged = RepositoryFragment {
                url: over.url.or(under.url),
                password_file: over.password_file.or(under.password_file),
                s3: S3Fragment::merge(under.s3, over.s3),
                file: over.file,
            };
            repositories.insert(name, merged);
        }
        let default_repository_file = if over.default_repository.is_some() {
            over.default_repository_file
        } else {
            self.default_repository_file
        };
        Self {
            state_dir: over.state_dir.or(self.state_dir),
            runtime_dir: over.runtime_dir.or(self.runtime_dir),
            cache_dir: over.cache_dir.or(self.cache_dir),
            cache_size: over.cache_size.or(self.cache_size),
            default_repository: over.default_repository.or(self.default_repository),
            default_repository_file,
            repositories,
            pool: self.pool.merge(over.pool),
            data_path: self.data_path.merge(over.data_path),
            lvm: LvmFragment {
                command_timeout_seconds: over
                    .lvm
                    .command_timeout_seconds
                    .or(self.lvm.command_timeout_seconds),
            },
            jobs: self.jobs.merge(over.jobs),
            access: self.access.merge(over.access),
        }
    }
}

impl PoolFragment {
    fn merge(self, over: Self) -> Self {
        Self {
            max_data_percent: over.max_data_percent.or(self.max_data_percent),
            max_metadata_percent: over.max_metadata_percent.or(self.max_metadata_percent),
            keep_base: over.keep_base.or(self.keep_base),
        }
    }
}

impl DataPathFragment {
    fn merge(self, over: Self) -> Self {
        Self {
            engine: over.engine.or(self.engine),
            workers: over.workers.or(self.workers),
            memory: over.memory.or(self.memory),
        }
    }
}

impl JobsFragment {
    fn merge(self, over: Self) -> Self {
        Self {
            max_running: over.max_running.or(self.max_running),
            keep: over.keep.or(self.keep),
            operation_timeout: over.operation_timeout.or(self.operation_timeout),
        }
    }
}

impl AccessFragment {
    fn merge(self, over: Self) -> Self {
        Self {
            volume_groups: over.volume_groups.or(self.volume_groups),
            read: GrantFragment::merge(self.read, over.read),
            backup: GrantFragment::merge(self.backup, over.backup),
            restore: GrantFragment::merge(self.restore, over.restore),
            admin: GrantFragment::merge(self.admin, over.admin),
        }
    }
}

impl GrantFragment {
    /// A list replaces the list before it: that way a right can be taken back.
    fn merge(under: Option<Self>, over: Option<Self>) -> Option<Self> {
        let Some(over) = over else { return under };
        let under = under.unwrap_or_default();
        Some(Self { users: over.users.or(under.users), groups: over.groups.or(under.groups) })
    }
}
