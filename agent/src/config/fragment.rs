//! What one configuration file may say. Every key is optional, and an unknown one is an error.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::size::Size;

/// One file's content. Later fragments win key by key; see [`Fragment::merge`].
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fragment {
    /// Where jobs and records are kept.
    pub(super) state_dir: Option<PathBuf>,
    /// Where locks and mounts are.
    pub(super) runtime_dir: Option<PathBuf>,
    /// Which of `repositories` is meant when none is named.
    pub(super) default_repository: Option<String>,
    #[serde(default)]
    pub(super) repositories: BTreeMap<String, RepositoryFragment>,
    #[serde(default)]
    pub(super) pool: PoolFragment,
    #[serde(default)]
    pub(super) data_path: DataPathFragment,
    #[serde(default)]
    pub(super) lvm: LvmFragment,
}

/// `[repositories.NAME]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RepositoryFragment {
    /// `file:///path`
    pub(super) url: Option<String>,
    /// A file whose first line is the passphrase.
    pub(super) password_file: Option<PathBuf>,
}

/// `[pool]`: past these no snapshot is made, and a running job ends.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoolFragment {
    pub(super) max_data_percent: Option<u16>,
    pub(super) max_metadata_percent: Option<u16>,
}

/// `[data_path]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DataPathFragment {
    /// Threads that hash, compress and seal.
    pub(super) workers: Option<usize>,
    /// What the buffers between the stages may take.
    pub(super) buffer_memory: Option<Size>,
    /// What the deduplication index may take.
    pub(super) index_memory: Option<Size>,
}

/// `[lvm]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LvmFragment {
    /// Seconds after which an LVM command is ended.
    pub(super) command_timeout_seconds: Option<u64>,
}

impl Fragment {
    /// Lays `over` over this one: each key it has wins; repositories are merged by name.
    pub(super) fn merge(self, over: Self) -> Self {
        let mut repositories = self.repositories;
        for (name, over) in over.repositories {
            let under = repositories.remove(&name).unwrap_or_default();
            let merged = RepositoryFragment {
                url: over.url.or(under.url),
                password_file: over.password_file.or(under.password_file),
            };
            repositories.insert(name, merged);
        }
        Self {
            state_dir: over.state_dir.or(self.state_dir),
            runtime_dir: over.runtime_dir.or(self.runtime_dir),
            default_repository: over.default_repository.or(self.default_repository),
            repositories,
            pool: PoolFragment {
                max_data_percent: over.pool.max_data_percent.or(self.pool.max_data_percent),
                max_metadata_percent: over
                    .pool
                    .max_metadata_percent
                    .or(self.pool.max_metadata_percent),
            },
            data_path: DataPathFragment {
                workers: over.data_path.workers.or(self.data_path.workers),
                buffer_memory: over.data_path.buffer_memory.or(self.data_path.buffer_memory),
                index_memory: over.data_path.index_memory.or(self.data_path.index_memory),
            },
            lvm: LvmFragment {
                command_timeout_seconds: over
                    .lvm
                    .command_timeout_seconds
                    .or(self.lvm.command_timeout_seconds),
            },
        }
    }
}
