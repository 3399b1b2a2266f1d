//! For unit tests: plain facts (one group, one pool, volumes as a test wants them), and the output
//! of real hosts in `fixtures/`.

use crate::inventory::{Inventory, Pool, PoolHealth, Volume, VolumeGroup};
use crate::mounts::{DeviceNumber, Mount};
use crate::names::{LvName, LvmUuid, VgName};
use crate::units::{Bytes, Percent};

/// A UUID that is all `letter`.
pub(crate) fn uuid(letter: char) -> LvmUuid {
    let groups = [6, 4, 4, 4, 4, 4, 6].map(|length| letter.to_string().repeat(length));
    LvmUuid::new(groups.join("-")).unwrap()
}

pub(crate) fn lv(name: &str) -> LvName {
    LvName::new(name).unwrap()
}

pub(crate) fn group() -> VolumeGroup {
    VolumeGroup {
        name: VgName::new("vg0").unwrap(),
        uuid: uuid('g'),
        size: Bytes(1 << 40),
        free: Bytes(1 << 39),
        exported: false,
        missing_devices: Vec::new(),
        shared: false,
        read_only: false,
        system_id: String::new(),
        duplicate: false,
    }
}

pub(crate) fn pool() -> Pool {
    Pool {
        vg: group().name,
        vg_uuid: uuid('g'),
        name: lv("pool0"),
        uuid: uuid('p'),
        size: Bytes(1 << 30),
        data_percent: Some(Percent::new(10)),
        metadata_percent: Some(Percent::new(10)),
        chunk_bytes: Bytes(64 << 10),
        health: PoolHealth::Ok,
    }
}

/// An inactive thin volume in [`pool`] with the UUID [`uuid`]`(letter)`.
pub(crate) fn thin(name: &str, letter: char) -> Volume {
    Volume {
        vg: group().name,
        vg_uuid: uuid('g'),
        name: lv(name),
        uuid: uuid(letter),
        size: Bytes(1 << 20),
        pool: Some(lv("pool0")),
        pool_uuid: Some(uuid('p')),
        thin_id: None,
        origin: None,
        origin_uuid: None,
        tags: Vec::new(),
        read_only: false,
        active: false,
        open: false,
        merging: false,
        device: None,
        mounts: Vec::new(),
    }
}

/// What a read-only thin snapshot of the volume `origin` looks like.
pub(crate) fn snapshot(name: &str, letter: char, origin: &Volume) -> Volume {
    Volume {
        origin: Some(origin.name.clone()),
        origin_uuid: Some(origin.uuid.clone()),
        read_only: true,
        ..thin(name, letter)
    }
}

pub(crate) fn mounted(volume: Volume, path: &str) -> Volume {
    let device = DeviceNumber { major: 253, minor: 7 };
    let mount = Mount {
        device,
        path: path.into(),
        filesystem: "xfs".into(),
        source: "/dev/mapper/x".into(),
    };
    Volume { active: true, open: true, device: Some(device), mounts: vec![mount], ..volume }
}

pub(crate) fn inventory(volumes: Vec<Volume>) -> Inventory {
    Inventory { groups: vec![group()], pools: vec![pool()], volumes }
}

/// The distributions whose output was captured. All show the same volumes, made by one script.
pub(crate) const DISTRIBUTIONS: [&str; 3] = ["debian-11", "debian-12", "debian-13"];

/// A file of `fixtures/`.
pub(crate) fn fixture(path: &str) -> String {
    let path = format!("{}/fixtures/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
