//! The reports of real hosts, captured from each distribution in `fixtures/`.

use super::*;
use crate::mounts::DeviceNumber;
use crate::report::{parse_lvs, parse_pvs, parse_system_id, parse_vgs};
use crate::testing::{DISTRIBUTIONS, fixture};
use proptest::prelude::*;

fn load(folder: &str) -> Inventory {
    let groups = parse_vgs(&fixture(&format!("{folder}/vgs.json"))).unwrap();
    let devices = parse_pvs(&fixture(&format!("{folder}/pvs.json"))).unwrap();
    let volumes = parse_lvs(&fixture(&format!("{folder}/lvs.json"))).unwrap();
    Inventory::new(&groups, &devices, &volumes, &[]).unwrap()
}

#[test]
fn a_plain_host_is_read_alike_from_every_distribution() {
    for distribution in DISTRIBUTIONS {
        let host = load(distribution);
        let group = &host.groups[0];
        assert_eq!((group.name.as_str(), group.size), ("vg0", Bytes(2_139_095_040)));
        assert!(!group.exported && !group.shared && !group.read_only && !group.duplicate);

        let pool = host.find_pool("vg0/pool").unwrap();
        assert_eq!(pool.health, PoolHealth::Ok);
        assert_eq!((pool.size, pool.chunk_bytes), (Bytes(512 << 20), Bytes(64 << 10)));
        assert!(pool.data_percent.unwrap() > Percent::new(1));
        assert!(pool.metadata_percent.unwrap() < Percent::new(50));

        let data = host.find_volume("vg0/data").unwrap();
        assert_eq!((data.size, data.pool.as_ref()), (Bytes(1 << 30), Some(&pool.name)));
        assert!(data.active && data.open && !data.read_only && data.origin.is_none());
        assert_eq!(data.pool_uuid.as_ref(), Some(&pool.uuid));

        let snapshot = host.find_volume("vg0/data-snapshot").unwrap();
        assert_eq!(snapshot.origin_uuid.as_ref(), Some(&data.uuid));
        assert_eq!(snapshot.tags, ["thinmover.owner=4f1d"]);
        assert!(snapshot.read_only && !snapshot.active && snapshot.device.is_none());

        let writable = host.find_volume("vg0/data-writable").unwrap();
        assert!(writable.active && !writable.read_only && writable.device.is_some());
        let inactive = host.find_volume("vg0/inactive").unwrap();
        assert!(!inactive.active && !inactive.open && !inactive.read_only);
        let thick = host.find_volume("vg0/thick").unwrap();
        assert!(!thick.is_thin() && thick.pool_uuid.is_none());
        let external = host.find_volume("vg0/external").unwrap();
        assert!(external.is_thin());
        assert_eq!(external.origin.as_ref().map(LvName::as_str), Some("base"));
    }
}

#[test]
fn hidden_volumes_and_pools_are_no_volumes() {
    for distribution in DISTRIBUTIONS {
        let host = load(distribution);
        for volume in &host.volumes {
            assert!(!volume.name.as_str().contains("_t"), "{}", volume.name);
            assert!(host.pools.iter().all(|pool| pool.uuid != volume.uuid));
        }
    }
}

#[test]
fn every_group_that_must_not_be_used_says_why() {
    for distribution in DISTRIBUTIONS {
        let folder = format!("{distribution}/guarded");
        let host = load(&folder);
        let system_id = parse_system_id(&fixture(&format!("{distribution}/systemid.txt")));
        let refusal = |name: &str| {
            let group = host.groups.iter().find(|group| group.name.as_str() == name).unwrap();
            crate::guard::check_group(group, system_id.as_deref()).err().map(|e| e.to_string())
        };
        assert_eq!(refusal("vg0"), None);
        assert!(refusal("exported").unwrap().contains("is exported"));
        assert!(refusal("foreign").unwrap().contains("another-host"));
        let partial = refusal("partial").unwrap();
        let missing = fixture(&format!("{folder}/pvs.json"));
        let missing = missing.lines().find(|line| line.contains("[unknown]")).unwrap();
        let uuid = partial.split_whitespace().nth(7).unwrap();
        assert!(partial.contains("is partial: its devices"), "{partial}");
        assert!(uuid.len() == 38 && missing.contains(uuid), "{partial}");
        let filled = host.find_pool("filled/pool").unwrap();
        assert_eq!(filled.health, PoolHealth::OutOfDataSpace);
        assert_eq!(filled.data_percent, Some(Percent::new(100)));
    }
}

#[test]
fn the_health_of_a_pool_follows_its_worst_sign() {
    let row = |health: &str, check: &str, permissions: &str, active: &str| LvRow {
        lv_health_status: health.into(),
        lv_check_needed: check.into(),
        lv_permissions: permissions.into(),
        lv_active: active.into(),
        ..LvRow::default()
    };
    let table = [
        (row("", "", "writeable", "active"), PoolHealth::Ok),
        (row("", "unknown", "unknown", ""), PoolHealth::Inactive),
        (row("failed", "unknown", "writeable", "active"), PoolHealth::Failed),
        (row("out_of_data", "", "writeable", "active"), PoolHealth::OutOfDataSpace),
        (row("metadata_read_only", "check needed", "writeable", "active"), PoolHealth::NeedsCheck),
        (row("metadata_read_only", "", "writeable", "active"), PoolHealth::ReadOnly),
        (row("", "", "read-only", "active"), PoolHealth::ReadOnly),
        (row("partial", "", "writeable", "active"), PoolHealth::Unknown),
    ];
    for (row, health) in table {
        assert_eq!(pool_health(&row), health, "{row:?}");
    }
}

#[test]
fn mounts_are_assigned_by_device_number() {
    let volumes = parse_lvs(&fixture("debian-12/lvs.json")).unwrap();
    let bare = Inventory::new(&[], &[], &volumes, &[]).unwrap();
    let device = bare.find_volume("data").unwrap().device.unwrap();
    let mount = |device, path: &str| Mount {
        device,
        path: path.into(),
        filesystem: "xfs".into(),
        source: "/dev/x".into(),
    };
    let other = DeviceNumber { major: device.major, minor: device.minor + 100 };
    let mounts = [mount(device, "/a"), mount(other, "/b"), mount(device, "/c")];
    let host = Inventory::new(&[], &[], &volumes, &mounts).unwrap();
    let data = host.find_volume("data").unwrap();
    assert_eq!(data.mounts, [mounts[0].clone(), mounts[2].clone()]);
    assert!(host.volumes.iter().filter(|v| v.uuid != data.uuid).all(|v| v.mounts.is_empty()));
}

#[test]
fn the_origin_of_a_merge_is_marked_though_lvm_marks_only_the_snapshot() {
    let mut rows = parse_lvs(&fixture("debian-12/lvs.json")).unwrap();
    let data = |rows: &[LvRow]| {
        let host = Inventory::new(&[], &[], rows, &[]).unwrap();
        host.find_volume("vg0/data").unwrap().merging
    };
    assert!(!data(&rows));
    let snapshot = rows.iter_mut().find(|row| row.lv_name == "data-writable").unwrap();
    snapshot.lv_name = "[data-writable]".into();
    snapshot.lv_merging = "merging".into();
    assert!(data(&rows));
}

#[test]
fn two_groups_of_one_name_are_marked() {
    let mut rows = parse_vgs(&fixture("debian-12/vgs.json")).unwrap();
    rows.push(rows[0].clone());
    let host = Inventory::new(&rows, &[], &[], &[]).unwrap();
    assert!(host.groups.iter().all(|group| group.duplicate));
}

#[test]
fn reports_with_more_fields_or_none_are_read_and_other_texts_are_errors() {
    let more = r#"{"report":[{"lv":[],"new":1},{"vg":[]}],"log":[]}"#;
    assert!(parse_lvs(more).unwrap().is_empty());
    assert!(parse_vgs(more).unwrap().is_empty());
    for text in
        ["", "{}", "[]", "null", "{\"report\":{}}", "{\"report\":[{\"lv\":[{\"lv_name\":1}]}]}"]
    {
        assert!(parse_lvs(text).is_err(), "{text}");
    }
    assert_eq!(parse_system_id("  system ID: \n"), None);
    assert_eq!(parse_system_id("  system ID: a b\n").as_deref(), Some("a b"));
}

#[test]
fn a_value_that_cannot_be_is_an_error_that_names_it() {
    let rows = parse_lvs(&fixture("debian-12/lvs.json")).unwrap();
    let position = rows.iter().position(|row| row.lv_name == "data").unwrap();
    let with = |change: fn(&mut LvRow)| {
        let mut rows = rows.clone();
        change(&mut rows[position]);
        Inventory::new(&[], &[], &rows, &[]).unwrap_err().to_string()
    };
    assert!(with(|row| row.lv_size = "1.00g".into()).contains("lv_size \"1.00g\" for data"));
    assert!(with(|row| row.lv_uuid = "../../etc".into()).contains("lv_uuid"));
    assert!(with(|row| row.vg_name = "a;b".into()).contains("vg_name"));
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in any::<String>()) {
        let _ = (parse_lvs(&text).is_ok(), parse_vgs(&text).is_ok(), parse_pvs(&text).is_ok());
        let _ = parse_system_id(&text);
    }

    #[test]
    fn no_damaged_report_makes_an_inventory_panic(position in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = fixture("debian-12/guarded/lvs.json").into_bytes();
        let position = position.index(bytes.len());
        bytes[position] = byte;
        if let Ok(rows) = parse_lvs(&String::from_utf8_lossy(&bytes)) {
            let _ = Inventory::new(&[], &[], &rows, &[]);
        }
    }
}
