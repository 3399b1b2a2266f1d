//! What nothing is concluded from: metadata of a pool that is not what it became by itself.
#![allow(clippy::unwrap_used)]

use std::fs;

use libtest_mimic::{Failed, Trial};
use thinmover_tests::fixtures::{MIB, lvm, run};

use crate::incremental::{HOLDS, Host};
use crate::job::{assert_equal, id};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("metadata_that_was_repaired_is_no_ground", repaired),
        Trial::test("metadata_that_was_set_back_is_no_ground", set_back),
    ]
}

fn repaired() -> Result<(), Failed> {
    let host = Host::new();
    let group = &host.pool.group;
    host.back_up(("allocated", "no-base"));
    // By LVM.
    lvm(&format!("lvchange --quiet -an {group}"));
    lvm(&format!("lvconvert --quiet --yes --repair {}", host.pool.name()));
    lvm(&format!("lvremove --quiet -f {group}/pool_meta0"));
    lvm(&format!("lvchange --quiet -ay {group}"));
    host.back_up(("allocated", "metadata-moved"));
    host.write(MIB, 512);
    host.back_up(HOLDS);
    Ok(())
}

/// In its place, with LVM's number of now: the volume has what it had before the last backup.
fn set_back() -> Result<(), Failed> {
    let host = Host::new();
    let (group, name) = (&host.pool.group, &host.volume.name);
    let other = host.pool.volume("other", 16 * MIB);
    host.back_up(("allocated", "no-base"));
    let mut then = String::new();
    offline(&host, |metadata| then = run("thin_dump", &[metadata]));
    let (start, rest) = then.split_once("transaction=\"").unwrap();
    let (_, rest) = rest.split_once('"').unwrap();
    let forged = host.thinmover.scratch().join("forged");
    let write_and_set_back = || {
        host.write(2 * MIB, MIB);
        let last = id(&host.back_up(HOLDS));
        let number = lvm(&format!("lvs --noheadings -o transaction_id {}", host.pool.name()));
        fs::write(&forged, format!("{start}transaction=\"{}\"{rest}", number.trim())).unwrap();
        offline(&host, |metadata| {
            run("thin_restore", &["-i", forged.to_str().unwrap(), "-o", metadata]);
        });
        last
    };
    let is_noticed = || {
        let report = host.back_up(("allocated", "metadata-set-back"));
        assert!(report["warnings"][0].as_str().unwrap().contains("set back"), "{report}");
    };

    // The pool's time is not what it was.
    write_and_set_back();
    is_noticed();

    // It has caught up, by snapshots of another volume: of this one there is none since.
    let last = write_and_set_back();
    for _ in 0..4 {
        lvm(&format!("lvcreate --quiet -s -kn -n taken {}", other.name));
        lvm(&format!("lvremove --quiet -f {group}/taken"));
    }
    // Nor is anything concluded for a restore.
    let report = host.job(5, &["restore", &last, name, "--mode", "delta", "--yes"]);
    let got = (&report["tier"], &report["reason"]);
    assert_eq!(got, (&"full".into(), &"metadata-set-back".into()), "{report}");
    let copy = host.thinmover.scratch().join("copy");
    host.job(0, &["restore", &last, copy.to_str().unwrap()]);
    assert_equal(&copy, &host.volume.path);
    fs::remove_file(copy)?;
    is_noticed();

    // By snapshots of this one, which are still there.
    write_and_set_back();
    for number in 0..8 {
        lvm(&format!("lvcreate --quiet -s -kn -n taken{number} {name}"));
    }
    is_noticed();
    host.back_up(HOLDS);
    Ok(())
}

/// Does something to the pool's metadata, by the name of its device, while the pool is inactive.
fn offline(host: &Host, act: impl FnOnce(&str)) {
    let group = &host.pool.group;
    let table = run("dmsetup", &["table", &host.pool_device("tmeta")]);
    lvm(&format!("lvchange --quiet -an {group}"));
    // LVM itself would have it read-only.
    run("dmsetup", &["create", "--table", table.trim(), group]);
    act(&format!("/dev/mapper/{group}"));
    run("dmsetup", &["remove", "--retry", group]);
    lvm(&format!("lvchange --quiet -ay {group}"));
}
