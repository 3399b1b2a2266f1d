//! What `lvs`, `vgs` and `pvs` say: the fields asked for, and parsers over their JSON.
//!
//! Pure functions over `&str`, tested with output captured from Debian 11, 12 and 13 (`fixtures/`).
//! Fields nobody asked for are ignored, missing ones read as empty; what a row *means* is decided
//! in `inventory`.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Fields of `lvs -a`. All of them exist since lvm2 2.03.02.
pub const LVS_FIELDS: &str = "vg_name,vg_uuid,lv_name,lv_uuid,lv_size,lv_attr,lv_layout,lv_role,\
lv_tags,lv_permissions,lv_active,lv_device_open,lv_suspended,lv_kernel_major,lv_kernel_minor,\
lv_skip_activation,lv_health_status,lv_check_needed,lv_when_full,lv_merging,lv_converting,pool_lv,\
pool_lv_uuid,origin,origin_uuid,data_percent,metadata_percent,chunk_size,lv_metadata_size,discards,\
zero,thin_count,thin_id,transaction_id";

/// Fields of `vgs`.
pub const VGS_FIELDS: &str = "vg_name,vg_uuid,vg_attr,vg_permissions,vg_exported,vg_partial,\
vg_clustered,vg_shared,vg_lock_type,vg_systemid,vg_size,vg_free,vg_extent_size,vg_missing_pv_count";

/// Fields of `pvs`.
pub const PVS_FIELDS: &str = "pv_name,pv_uuid,vg_name,vg_uuid,pv_size,pv_free,pv_missing,\
pv_exported,pv_duplicate,pv_in_use";

/// Fields of `pvs --segments`.
pub const PV_SEGMENT_FIELDS: &str = "pv_uuid,pvseg_start,pvseg_size,lv_name";

/// How every report is asked for, whichever program makes it: sizes in bytes, as JSON, with the
/// groups of other hosts and shared ones included, so that guards can name them.
pub const REPORT_OPTIONS: [&str; 7] =
    ["--reportformat", "json", "--units", "b", "--nosuffix", "--foreign", "--shared"];

/// A report that could not be understood.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It is not JSON of LVM's form.
    #[error("the output of {program} is not a report this version understands: {source}")]
    Form {
        /// `lvs`, `vgs` or `pvs`.
        program: &'static str,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A field holds what it cannot hold.
    #[error("{program} reports {field} {value:?} for {subject}, which is no {wanted}")]
    Value {
        /// `lvs`, `vgs` or `pvs`.
        program: &'static str,
        /// The field.
        field: &'static str,
        /// The text in it.
        value: String,
        /// The volume or group it was said of.
        subject: String,
        /// What was expected.
        wanted: &'static str,
    },
}

/// A row of `lvs`, all text as LVM printed it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LvRow {
    pub(crate) vg_name: String,
    pub(crate) vg_uuid: String,
    pub(crate) lv_name: String,
    pub(crate) lv_uuid: String,
    pub(crate) lv_size: String,
    pub(crate) lv_layout: String,
    pub(crate) lv_role: String,
    pub(crate) lv_tags: String,
    pub(crate) lv_permissions: String,
    pub(crate) lv_active: String,
    pub(crate) lv_device_open: String,
    pub(crate) lv_suspended: String,
    pub(crate) lv_kernel_major: String,
    pub(crate) lv_kernel_minor: String,
    pub(crate) lv_health_status: String,
    pub(crate) lv_check_needed: String,
    pub(crate) lv_merging: String,
    pub(crate) lv_converting: String,
    pub(crate) pool_lv: String,
    pub(crate) pool_lv_uuid: String,
    pub(crate) origin: String,
    pub(crate) origin_uuid: String,
    pub(crate) data_percent: String,
    pub(crate) metadata_percent: String,
    pub(crate) chunk_size: String,
    pub(crate) thin_id: String,
}

/// A row of `vgs`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct VgRow {
    pub(crate) vg_name: String,
    pub(crate) vg_uuid: String,
    pub(crate) vg_permissions: String,
    pub(crate) vg_exported: String,
    pub(crate) vg_partial: String,
    pub(crate) vg_clustered: String,
    pub(crate) vg_shared: String,
    pub(crate) vg_lock_type: String,
    pub(crate) vg_systemid: String,
    pub(crate) vg_size: String,
    pub(crate) vg_free: String,
}

impl VgRow {
    /// Whether one of its devices is missing.
    pub(crate) fn is_partial(&self) -> bool {
        !self.vg_partial.is_empty()
    }
}

/// A row of `pvs`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PvRow {
    pub(crate) pv_uuid: String,
    pub(crate) vg_uuid: String,
    pub(crate) pv_missing: String,
}

/// Parses the output of `lvs`.
pub(crate) fn parse_lvs(text: &str) -> Result<Vec<LvRow>, ReportError> {
    #[derive(Deserialize)]
    struct Section {
        #[serde(default = "Vec::new")]
        lv: Vec<LvRow>,
    }
    parse::<Section>("lvs", text).map(|all| all.into_iter().flat_map(|one| one.lv).collect())
}

/// Parses the output of `vgs`.
pub(crate) fn parse_vgs(text: &str) -> Result<Vec<VgRow>, ReportError> {
    #[derive(Deserialize)]
    struct Section {
        #[serde(default = "Vec::new")]
        vg: Vec<VgRow>,
    }
    parse::<Section>("vgs", text).map(|all| all.into_iter().flat_map(|one| one.vg).collect())
}

/// Parses the output of `pvs`.
pub(crate) fn parse_pvs(text: &str) -> Result<Vec<PvRow>, ReportError> {
    #[derive(Deserialize)]
    struct Section {
        #[serde(default = "Vec::new")]
        pv: Vec<PvRow>,
    }
    parse::<Section>("pvs", text).map(|all| all.into_iter().flat_map(|one| one.pv).collect())
}

/// A run of extents of a physical volume and the volume that has them, from `pvs --segments`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PvSegment {
    pub(crate) pv_uuid: String,
    /// In extents.
    pub(crate) pvseg_start: u64,
    /// In extents.
    pub(crate) pvseg_size: u64,
    /// Hidden volumes stand in brackets; empty for free extents.
    pub(crate) lv_name: String,
}

/// Parses the output of `pvs --segments`.
pub(crate) fn parse_pv_segments(text: &str) -> Result<Vec<PvSegment>, ReportError> {
    const PROGRAM: &str = "pvs --segments";
    #[derive(Deserialize)]
    struct Row {
        pv_uuid: String,
        pvseg_start: String,
        pvseg_size: String,
        lv_name: String,
    }
    #[derive(Deserialize)]
    struct Section {
        #[serde(default = "Vec::new")]
        pvseg: Vec<Row>,
    }
    let number = |field, value: String, subject: &str| {
        value.parse().map_err(|_| ReportError::Value {
            program: PROGRAM,
            field,
            value,
            subject: subject.to_owned(),
            wanted: "number",
        })
    };
    let rows = parse::<Section>(PROGRAM, text)?.into_iter().flat_map(|one| one.pvseg);
    rows.map(|row| {
        Ok(PvSegment {
            pvseg_start: number("pvseg_start", row.pvseg_start, &row.pv_uuid)?,
            pvseg_size: number("pvseg_size", row.pvseg_size, &row.pv_uuid)?,
            pv_uuid: row.pv_uuid,
            lv_name: row.lv_name,
        })
    })
    .collect()
}

/// Parses the output of `lvm systemid`; `None` when this host has none.
pub(crate) fn parse_system_id(text: &str) -> Option<String> {
    let id = text.trim().strip_prefix("system ID:")?.trim();
    (!id.is_empty()).then(|| id.to_owned())
}

fn parse<T: DeserializeOwned>(program: &'static str, text: &str) -> Result<Vec<T>, ReportError> {
    #[derive(Deserialize)]
    struct Report<T> {
        report: Vec<T>,
    }
    serde_json::from_str::<Report<T>>(text)
        .map(|document| document.report)
        .map_err(|source| ReportError::Form { program, source })
}
