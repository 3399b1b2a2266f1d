//! What `lvs`, `vgs` and `pvs` say: the fields asked for, and parsers over their JSON.
//!
//! Pure functions over `&str`, tested with output captured from Debian 11, 12 and 13 (`fixtures/`).

/// Fields of `lvs -a`, in the order they are asked for. All of them exist since lvm2 2.03.02.
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

/// How every report is asked for, whichever program makes it: typed sizes in bytes, as JSON, with
/// the groups of other hosts and shared ones included, so that guards can name them.
pub const REPORT_OPTIONS: [&str; 7] =
    ["--reportformat", "json", "--units", "b", "--nosuffix", "--foreign", "--shared"];
