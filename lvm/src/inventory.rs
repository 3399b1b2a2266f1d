//! The host's volume groups, thin pools and volumes as typed facts.

use std::collections::{HashMap, HashSet};

use crate::dm_thin::DeviceId;
use crate::mounts::{DeviceNumber, Mount};
use crate::names::{LvName, LvmUuid, VgName, dm_name, dm_pool_uuid, dm_uuid};
use crate::report::{LvRow, PvRow, ReportError, VgRow};
use crate::units::{Bytes, Percent};

/// All that LVM reports of this host, at about one moment.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Volume groups, those that cannot be used included.
    pub groups: Vec<VolumeGroup>,
    /// Thin pools.
    pub pools: Vec<Pool>,
    /// All other volumes that are visible, thin or not. LVM does not list those of exported groups.
    pub volumes: Vec<Volume>,
}

/// A volume group.
#[derive(Clone, Debug)]
pub struct VolumeGroup {
    /// Its name, which another group may have too: [`duplicate`](Self::duplicate).
    pub name: VgName,
    /// Its UUID.
    pub uuid: LvmUuid,
    /// All of its extents.
    pub size: Bytes,
    /// Extents no volume has.
    pub free: Bytes,
    /// Exported: waiting to be imported elsewhere.
    pub exported: bool,
    /// The UUIDs of its physical volumes that are missing.
    pub missing_devices: Vec<String>,
    /// Shared between hosts by lvmlockd, or clustered as in lvm2 2.02.
    pub shared: bool,
    /// Not writable.
    pub read_only: bool,
    /// The system id of the host that owns it; empty when anyone may.
    pub system_id: String,
    /// Another group here has the same name (a cloned disk).
    pub duplicate: bool,
}

/// A thin pool.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its group's name.
    pub vg: VgName,
    /// Its group's UUID.
    pub vg_uuid: LvmUuid,
    /// Its name.
    pub name: LvName,
    /// Its UUID.
    pub uuid: LvmUuid,
    /// Size of its data device.
    pub size: Bytes,
    /// Share of data chunks in use; `None` while it is not active.
    pub data_percent: Option<Percent>,
    /// Share of metadata blocks in use; `None` while it is not active.
    pub metadata_percent: Option<Percent>,
    /// dm-thin's unit of mapping.
    pub chunk_bytes: Bytes,
    /// Its state.
    pub health: PoolHealth,
}

/// The state of a thin pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolHealth {
    /// Active and working.
    Ok,
    /// Not active; how full it is cannot be known.
    Inactive,
    /// `thin_check` must run before it can be written.
    NeedsCheck,
    /// It fell back to read-only metadata, or was set read-only.
    ReadOnly,
    /// No free data chunk is left.
    OutOfDataSpace,
    /// All I/O fails.
    Failed,
    /// LVM reports a state this version does not know, or devices are missing.
    Unknown,
}

impl PoolHealth {
    /// A word for reports: `ok`, `needsCheck`, ….
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Inactive => "inactive",
            Self::NeedsCheck => "needsCheck",
            Self::ReadOnly => "readOnly",
            Self::OutOfDataSpace => "outOfDataSpace",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// A logical volume that is no thin pool.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Its group's name.
    pub vg: VgName,
    /// Its group's UUID.
    pub vg_uuid: LvmUuid,
    /// Its name.
    pub name: LvName,
    /// Its UUID.
    pub uuid: LvmUuid,
    /// Its virtual size.
    pub size: Bytes,
    /// The thin pool it lives in; `None` for a thick volume.
    pub pool: Option<LvName>,
    /// That pool's UUID.
    pub pool_uuid: Option<LvmUuid>,
    /// Its device's number in that pool.
    pub thin_id: Option<DeviceId>,
    /// What it is a snapshot of, while that still exists.
    pub origin: Option<LvName>,
    /// Its origin's UUID.
    pub origin_uuid: Option<LvmUuid>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Whether LVM makes it read-only.
    pub read_only: bool,
    /// Whether it has a device here.
    pub active: bool,
    /// Whether that device is open, mounts included.
    pub open: bool,
    /// Whether it is, or is about to be, converted, merged or overwritten by a merge.
    pub merging: bool,
    /// Its device's number while it is active.
    pub device: Option<DeviceNumber>,
    /// Where it is mounted in this mount namespace.
    pub mounts: Vec<Mount>,
}

impl Volume {
    /// `VG/LV`.
    pub fn alias(&self) -> String {
        format!("{}/{}", self.vg, self.name)
    }

    /// Whether it is a thin volume, the only kind that snapshots are made of.
    pub fn is_thin(&self) -> bool {
        self.pool.is_some()
    }

    pub(crate) fn dm_name(&self) -> String {
        dm_name(&self.vg, &self.name)
    }

    pub(crate) fn dm_uuid(&self) -> String {
        dm_uuid(&self.vg_uuid, &self.uuid)
    }
}

impl Pool {
    /// `VG/LV`.
    pub fn alias(&self) -> String {
        format!("{}/{}", self.vg, self.name)
    }

    pub(crate) fn dm_name(&self) -> String {
        dm_name(&self.vg, &self.name)
    }

    pub(crate) fn dm_uuid(&self) -> String {
        dm_pool_uuid(&self.vg_uuid, &self.uuid)
    }
}

impl Inventory {
    /// Puts the rows of `vgs`, `pvs` (needed only where a group is partial) and `lvs` and the
    /// mounts together.
    pub(crate) fn new(
        groups: &[VgRow],
        devices: &[PvRow],
        volumes: &[LvRow],
        mounts: &[Mount],
    ) -> Result<Self, ReportError> {
        let mut inventory = Self::default();
        let mut named: HashMap<&str, usize> = HashMap::new();
        for row in groups {
            *named.entry(row.vg_name.as_str()).or_default() += 1;
        }
        for row in groups {
            let duplicate = named.get(row.vg_name.as_str()).is_some_and(|&count| count > 1);
            inventory.groups.push(volume_group(row, devices, duplicate)?);
        }
        // LVM marks, and hides, the snapshot that is merged; its origin looks as always.
        let merged_into: HashSet<&str> = volumes
            .iter()
            .filter(|row| !row.lv_merging.is_empty())
            .map(|row| row.origin_uuid.as_str())
            .collect();
        for row in volumes {
            if row.lv_name.starts_with('[') {
                // LVM prints hidden volumes in brackets.
            } else if has_word(&row.lv_layout, "pool") {
                if has_word(&row.lv_layout, "thin") {
                    inventory.pools.push(pool(row)?);
                }
            } else {
                let mut volume = volume(row, mounts)?;
                volume.merging |= merged_into.contains(row.lv_uuid.as_str());
                inventory.volumes.push(volume);
            }
        }
        Ok(inventory)
    }

    /// The group with this UUID.
    pub fn group(&self, uuid: &LvmUuid) -> Option<&VolumeGroup> {
        self.groups.iter().find(|group| group.uuid == *uuid)
    }

    /// The pool with this UUID.
    pub fn pool(&self, uuid: &LvmUuid) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.uuid == *uuid)
    }

    /// The volume with this UUID.
    pub fn volume(&self, uuid: &LvmUuid) -> Option<&Volume> {
        self.volumes.iter().find(|volume| volume.uuid == *uuid)
    }
}

fn has_word(list: &str, word: &str) -> bool {
    list.split(',').any(|item| item == word)
}

fn volume_group(
    row: &VgRow,
    devices: &[PvRow],
    duplicate: bool,
) -> Result<VolumeGroup, ReportError> {
    let missing = |device: &&PvRow| device.vg_uuid == row.vg_uuid && !device.pv_missing.is_empty();
    let mut missing_devices: Vec<String> =
        devices.iter().filter(missing).map(|device| device.pv_uuid.clone()).collect();
    if missing_devices.is_empty() && row.is_partial() {
        missing_devices.push("(unknown)".to_owned());
    }
    let of = Field { program: "vgs", subject: &row.vg_name };
    Ok(VolumeGroup {
        name: of.name("vg_name", &row.vg_name, VgName::new)?,
        uuid: of.name("vg_uuid", &row.vg_uuid, LvmUuid::new)?,
        size: Bytes(of.number("vg_size", &row.vg_size)?),
        free: Bytes(of.number("vg_free", &row.vg_free)?),
        exported: !row.vg_exported.is_empty(),
        missing_devices,
        shared: !row.vg_shared.is_empty()
            || !row.vg_clustered.is_empty()
            || !matches!(row.vg_lock_type.as_str(), "" | "none"),
        read_only: row.vg_permissions == "read-only",
        system_id: row.vg_systemid.clone(),
        duplicate,
    })
}

fn pool(row: &LvRow) -> Result<Pool, ReportError> {
    let of = Field { program: "lvs", subject: &row.lv_name };
    Ok(Pool {
        vg: of.name("vg_name", &row.vg_name, VgName::new)?,
        vg_uuid: of.name("vg_uuid", &row.vg_uuid, LvmUuid::new)?,
        name: of.name("lv_name", &row.lv_name, LvName::new)?,
        uuid: of.name("lv_uuid", &row.lv_uuid, LvmUuid::new)?,
        size: Bytes(of.number("lv_size", &row.lv_size)?),
        data_percent: of.percent("data_percent", &row.data_percent)?,
        metadata_percent: of.percent("metadata_percent", &row.metadata_percent)?,
        chunk_bytes: Bytes(of.number("chunk_size", &row.chunk_size)?),
        health: pool_health(row),
    })
}

/// `lv_health_status` of a thin pool: lvm2's `_lvhealthstatus_disp` (`lib/report/report.c`).
fn pool_health(row: &LvRow) -> PoolHealth {
    if row.lv_active != "active" {
        return PoolHealth::Inactive;
    }
    match row.lv_health_status.as_str() {
        "failed" => PoolHealth::Failed,
        "out_of_data" => PoolHealth::OutOfDataSpace,
        _ if row.lv_check_needed == "check needed" => PoolHealth::NeedsCheck,
        "metadata_read_only" => PoolHealth::ReadOnly,
        "" if row.lv_permissions != "writeable" => PoolHealth::ReadOnly,
        "" => PoolHealth::Ok,
        _ => PoolHealth::Unknown,
    }
}

fn volume(row: &LvRow, mounts: &[Mount]) -> Result<Volume, ReportError> {
    let of = Field { program: "lvs", subject: &row.lv_name };
    let thin = has_word(&row.lv_layout, "thin");
    // "-1" while the volume has no device.
    let device = match (row.lv_kernel_major.parse(), row.lv_kernel_minor.parse()) {
        (Ok(major), Ok(minor)) => Some(DeviceNumber { major, minor }),
        _ => None,
    };
    Ok(Volume {
        vg: of.name("vg_name", &row.vg_name, VgName::new)?,
        vg_uuid: of.name("vg_uuid", &row.vg_uuid, LvmUuid::new)?,
        name: of.name("lv_name", &row.lv_name, LvName::new)?,
        uuid: of.name("lv_uuid", &row.lv_uuid, LvmUuid::new)?,
        size: Bytes(of.number("lv_size", &row.lv_size)?),
        pool: if thin { of.hidden_name("pool_lv", &row.pool_lv)? } else { None },
        pool_uuid: if thin { of.optional("pool_lv_uuid", &row.pool_lv_uuid)? } else { None },
        thin_id: row.thin_id.parse().ok().and_then(DeviceId::new),
        origin: of.hidden_name("origin", &row.origin)?,
        origin_uuid: of.optional("origin_uuid", &row.origin_uuid)?,
        tags: row.lv_tags.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
        read_only: row.lv_permissions.starts_with("read-only"),
        active: row.lv_active == "active",
        open: row.lv_device_open == "open",
        merging: !row.lv_merging.is_empty() || !row.lv_converting.is_empty(),
        mounts: mounts.iter().filter(|mount| Some(mount.device) == device).cloned().collect(),
        device,
    })
}

/// Reads the fields of one row and says which one was wrong.
struct Field<'a> {
    program: &'static str,
    subject: &'a str,
}

impl Field<'_> {
    fn wrong(&self, field: &'static str, value: &str, wanted: &'static str) -> ReportError {
        ReportError::Value {
            program: self.program,
            field,
            value: value.chars().take(200).collect(),
            subject: self.subject.chars().take(200).collect(),
            wanted,
        }
    }

    fn name<T, E>(
        &self,
        field: &'static str,
        value: &str,
        new: impl FnOnce(String) -> Result<T, E>,
    ) -> Result<T, ReportError> {
        new(value.to_owned()).map_err(|_| self.wrong(field, value, "name or UUID of LVM's"))
    }

    /// A name that stands in brackets when the volume is hidden.
    fn hidden_name(&self, field: &'static str, value: &str) -> Result<Option<LvName>, ReportError> {
        let bare = value.trim_start_matches('[').trim_end_matches(']');
        if bare.is_empty() { Ok(None) } else { self.name(field, bare, LvName::new).map(Some) }
    }

    fn optional(&self, field: &'static str, value: &str) -> Result<Option<LvmUuid>, ReportError> {
        if value.is_empty() { Ok(None) } else { self.name(field, value, LvmUuid::new).map(Some) }
    }

    fn number(&self, field: &'static str, value: &str) -> Result<u64, ReportError> {
        value.parse().map_err(|_| self.wrong(field, value, "number"))
    }

    fn percent(&self, field: &'static str, value: &str) -> Result<Option<Percent>, ReportError> {
        if value.is_empty() {
            return Ok(None);
        }
        Percent::parse(value).map(Some).ok_or_else(|| self.wrong(field, value, "percentage"))
    }
}

#[cfg(test)]
#[path = "inventory_tests.rs"]
mod tests;
