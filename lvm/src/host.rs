//! [`Lvm`]: this host's LVM, and what this crate keeps about it.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thinmover_io::IoEngine;

use crate::command::{DmPoolMode, DmThinPool, Dmsetup, LvmCommands};
use crate::error::LvmError;
use crate::guard::{self, PoolLimits, PoolUsage, Refusal};
use crate::inventory::{Inventory, Pool, PoolHealth, Volume, VolumeGroup};
use crate::lock;
use crate::lookup::Place;
use crate::mounts;
use crate::names::{LvName, LvmUuid, VgName};
use crate::record::RecordStore;
use crate::report;
use crate::units::Percent;

/// Where and how this crate works.
#[derive(Clone, Debug)]
pub struct LvmOptions {
    /// For locks and mounts; gone after a reboot. `/run/thinmover`.
    pub runtime_dir: PathBuf,
    /// For records; durable. `/var/lib/thinmover`.
    pub state_dir: PathBuf,
    /// How long one command may take before it is ended.
    pub command_timeout: Duration,
    /// What reads the pools' metadata.
    pub io: IoEngine,
}

impl Default for LvmOptions {
    fn default() -> Self {
        Self {
            runtime_dir: "/run/thinmover".into(),
            state_dir: "/var/lib/thinmover".into(),
            command_timeout: Duration::from_secs(120),
            io: IoEngine::default(),
        }
    }
}

/// This host's LVM. Cheap to clone; nothing is touched until a method is called.
#[derive(Clone, Debug)]
pub struct Lvm {
    host: Arc<Host>,
}

#[derive(Debug)]
struct Host {
    runtime_dir: PathBuf,
    state_dir: PathBuf,
    io: IoEngine,
    commands: LvmCommands,
    dmsetup: Dmsetup,
    records: RecordStore,
}

/// While it lives, no other job works on that volume.
#[derive(Debug)]
pub struct VolumeLock {
    _file: File,
}

impl Lvm {
    /// Takes the options; nothing is run or read.
    pub fn new(options: LvmOptions) -> Self {
        let LvmOptions { runtime_dir, state_dir, command_timeout, io } = options;
        let host = Host {
            commands: LvmCommands::new(&runtime_dir, command_timeout),
            dmsetup: Dmsetup::new(command_timeout),
            records: RecordStore::new(&state_dir),
            runtime_dir,
            state_dir,
            io,
        };
        Self { host: Arc::new(host) }
    }

    /// Groups, pools and volumes as they are now.
    ///
    /// # Errors
    /// When LVM cannot be run or understood.
    pub fn inventory(&self) -> Result<Inventory, LvmError> {
        self.ensure_runtime_dir()?;
        let groups = report::parse_vgs(&self.host.commands.vgs()?)?;
        let devices = if groups.iter().any(report::VgRow::is_partial) {
            report::parse_pvs(&self.host.commands.pvs()?)?
        } else {
            Vec::new()
        };
        let volumes = report::parse_lvs(&self.host.commands.lvs(None)?)?;
        Ok(Inventory::new(&groups, &devices, &volumes, &self.mounts()?)?)
    }

    /// What `spec` stands for: `VG/LV`, a volume's name or UUID, a path to a volume's device, or
    /// another path.
    ///
    /// # Errors
    /// As [`Inventory::find_place`].
    pub fn find(&self, spec: &str) -> Result<Place, LvmError> {
        self.inventory()?.find_place(spec)
    }

    /// How full the pool is and how it fares, from the kernel alone: cheap enough to ask every
    /// second, and no LVM command is waited for.
    ///
    /// # Errors
    /// When `dmsetup` cannot be run or understood.
    pub fn pool_usage(&self, pool: &Pool) -> Result<PoolUsage, LvmError> {
        Ok(match self.host.dmsetup.thin_pool(&pool.dm_uuid())? {
            None => unknown_usage(PoolHealth::Inactive),
            Some(DmThinPool::Failed) => unknown_usage(PoolHealth::Failed),
            Some(DmThinPool::Running {
                used_metadata_blocks,
                total_metadata_blocks,
                used_data_blocks,
                total_data_blocks,
                held_root: _,
                mode,
                needs_check,
            }) => PoolUsage {
                data: Percent::of(used_data_blocks, total_data_blocks),
                metadata: Percent::of(used_metadata_blocks, total_metadata_blocks),
                health: match mode {
                    _ if needs_check => PoolHealth::NeedsCheck,
                    DmPoolMode::ReadWrite => PoolHealth::Ok,
                    DmPoolMode::ReadOnly => PoolHealth::ReadOnly,
                    DmPoolMode::OutOfDataSpace => PoolHealth::OutOfDataSpace,
                },
            },
        })
    }

    /// Takes the host-wide lock of the volume `uuid`, under which one job at a time works on it.
    ///
    /// # Errors
    /// [`Refusal::InUse`] while another process or job has it.
    pub fn lock_volume(&self, uuid: &LvmUuid) -> Result<VolumeLock, LvmError> {
        let path = self.ensure_private_dir("volumes")?.join(format!("{uuid}.lock"));
        match lock::acquire(&path, Duration::ZERO) {
            Ok(Some(file)) => Ok(VolumeLock { _file: file }),
            Ok(None) => Err(Refusal::InUse {
                volume: format!("volume {uuid}"),
                why: "has another job of thinmover's at work".into(),
            }
            .into()),
            Err(source) => Err(LvmError::io("lock", &path, source)),
        }
    }

    pub(crate) fn commands(&self) -> &LvmCommands {
        &self.host.commands
    }

    pub(crate) fn dmsetup(&self) -> &Dmsetup {
        &self.host.dmsetup
    }

    pub(crate) fn io(&self) -> &IoEngine {
        &self.host.io
    }

    /// Where large lists may lie while they are needed: on a disk, not in memory.
    pub(crate) fn state_dir(&self) -> &Path {
        &self.host.state_dir
    }

    pub(crate) fn records(&self) -> &RecordStore {
        &self.host.records
    }

    pub(crate) fn mounts(&self) -> Result<Vec<mounts::Mount>, LvmError> {
        mounts::read().map_err(|source| LvmError::io("read", "/proc/self/mountinfo", source))
    }

    /// The volumes of one group; cheaper than the whole [`inventory`](Self::inventory).
    pub(crate) fn volumes_of(&self, group: &VgName) -> Result<Vec<Volume>, LvmError> {
        let rows = report::parse_lvs(&self.host.commands.lvs(Some(group))?)?;
        Ok(Inventory::new(&[], &[], &rows, &self.mounts()?)?.volumes)
    }

    /// The volume of that UUID as it is now, `None` when it is gone.
    pub(crate) fn reread(
        &self,
        group: &VgName,
        uuid: &LvmUuid,
    ) -> Result<Option<Volume>, LvmError> {
        Ok(self.volumes_of(group)?.into_iter().find(|volume| volume.uuid == *uuid))
    }

    /// Refuses groups that must not be changed from here.
    pub(crate) fn check_group<'a>(
        &self,
        inventory: &'a Inventory,
        uuid: &LvmUuid,
    ) -> Result<&'a VolumeGroup, LvmError> {
        let group = inventory.group(uuid).ok_or_else(|| LvmError::NotFound {
            spec: uuid.to_string(),
            hint: ": no volume group of that UUID is visible".into(),
        })?;
        let system_id = match group.system_id.as_str() {
            "" => None,
            _ => report::parse_system_id(&self.host.commands.system_id()?),
        };
        guard::check_group(group, system_id.as_deref())?;
        Ok(group)
    }

    /// Refuses pools that nothing may be added to.
    pub(crate) fn check_pool(
        &self,
        inventory: &Inventory,
        uuid: &LvmUuid,
        limits: &PoolLimits,
    ) -> Result<(), LvmError> {
        let pool = inventory.pool(uuid).ok_or_else(|| LvmError::NotFound {
            spec: uuid.to_string(),
            hint: ": no thin pool of that UUID is visible".into(),
        })?;
        // LVM knows of a pool that was set read-only, the kernel of everything else, and first.
        let mut usage = self.pool_usage(pool)?;
        if usage.health == PoolHealth::Ok {
            usage.health = pool.health;
        }
        Ok(guard::check_pool(pool, &usage, limits)?)
    }

    /// Makes the runtime folder, which others may look into, and returns it.
    fn ensure_runtime_dir(&self) -> Result<&Path, LvmError> {
        require_root()?;
        make_folder(&self.host.runtime_dir, 0o755)?;
        Ok(&self.host.runtime_dir)
    }

    /// Makes `sub` in the runtime folder, for root alone: a snapshot's files must not be easier to
    /// reach than its origin's, and nobody else may hold a lock.
    pub(crate) fn ensure_private_dir(&self, sub: &str) -> Result<PathBuf, LvmError> {
        let path = self.ensure_runtime_dir()?.join(sub);
        make_folder(&path, 0o700)?;
        Ok(path)
    }
}

pub(crate) fn make_folder(path: &Path, mode: u32) -> Result<(), LvmError> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|source| LvmError::io("create", path, source))
}

/// Refuses a name that a new volume in `group` cannot have.
pub(crate) fn check_new_name(
    inventory: &Inventory,
    group: &VolumeGroup,
    name: &LvName,
) -> Result<(), LvmError> {
    name.check_creatable(&group.name)?;
    let volumes = inventory.volumes.iter().map(|volume| (&volume.vg_uuid, &volume.name));
    let pools = inventory.pools.iter().map(|pool| (&pool.vg_uuid, &pool.name));
    if volumes.chain(pools).any(|(vg, other)| *vg == group.uuid && other == name) {
        return Err(Refusal::NameTaken { volume: format!("{}/{name}", group.name) }.into());
    }
    Ok(())
}

/// Says early and plainly what would otherwise be one of many refusals by the system.
pub(crate) fn require_root() -> Result<(), LvmError> {
    if nix::unistd::geteuid().is_root() { Ok(()) } else { Err(LvmError::NotRoot) }
}

/// The id of this boot.
pub(crate) fn boot_id() -> Result<String, LvmError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    std::fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(|source| LvmError::io("read", path, source))
}

fn unknown_usage(health: PoolHealth) -> PoolUsage {
    PoolUsage { data: Percent::new(100), metadata: Percent::new(100), health }
}
