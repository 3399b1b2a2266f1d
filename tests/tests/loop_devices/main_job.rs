//! The main job: a volume in use off a real thin pool and back.
#![allow(clippy::unwrap_used)]

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;
use thinmover_tests::fixtures::{HostState, MIB, Writer, lvm};

use crate::job::{Host, assert_equal, device, end, id, signal};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("a_volume_in_use_comes_back_as_it_was_in_the_snapshot", in_use),
        Trial::test("a_restore_makes_its_volume_where_asked", to_new_volume),
        Trial::test("an_inactive_volume_is_backed_up_and_restored_inactive", inactive),
        Trial::test("a_wrecked_volume_is_restored_in_place", in_place),
        Trial::test("inventory_and_snapshots_answer_with_the_documented_keys", documents),
    ]
}

/// The job is stopped while it holds its snapshot, so that a second one can be made of that: the
/// reference.
fn in_use() -> Result<(), Failed> {
    let host = Host::with_xfs();
    host.write_file("file", 64 * MIB);
    let other = host.other("other");
    let writer = Writer::start(host.mounted.path());
    let before = HostState::now();

    let job = host.spawn(&["backup", "create", &host.data.name, "--json"]);
    let snapshot = host.stop_with_snapshot(&job);
    let reference = format!("{}/reference", host.pool.group);
    lvm(&format!("lvcreate --quiet -s -n reference {snapshot}"));
    signal(&job, Signal::SIGCONT);
    let (status, report) = end(job);
    assert_eq!(status, Some(0), "{report}");
    assert!(writer.written_bytes() > 0);
    lvm(&format!("lvchange -K -ay {reference}"));

    let report = host.run(0, &["restore", &id(&report), &other.name]);
    assert_eq!(report["target"], other.name);
    assert_equal(&device(&reference), &other.path);
    assert!(writer.stop() > 0);
    lvm(&format!("lvremove --quiet -f {reference}"));
    before.assert_unchanged();
    host.verify_all();
    Ok(())
}

fn to_new_volume() -> Result<(), Failed> {
    let host = Host::with_ext4();
    host.write_file("file", 16 * MIB);
    let backup = host.back_up();
    let made = format!("{}/made", host.pool.group);
    let report = host.run(0, &["restore", &backup, &made, "--create", &host.pool.name()]);
    assert_eq!(report["target"], made);
    let made = host.pool.existing("made");
    assert!(made.tags().is_empty(), "the tag goes once it is whole");

    // The log of the live filesystem was not empty: compare with a second restore.
    let again = host.other("again");
    host.run(0, &["restore", &backup, &again.name]);
    assert_equal(&made.path, &again.path);
    let refused = ["restore", &backup, &made.name, "--create", &host.pool.name()];
    assert_eq!(host.run(4, &refused)["error"]["code"], "exists");
    Ok(())
}

fn inactive() -> Result<(), Failed> {
    let host = Host::with_ext4();
    host.write_file("file", 4 * MIB);
    let (source, target) =
        (host.pool.volume("source", 64 * MIB), host.pool.volume("target", 64 * MIB));
    crate::job::random_file(&source.path, 64 * MIB);
    for volume in [&source, &target] {
        // LVM activates what is on a new device in its own time.
        lvm(&format!("lvchange --setautoactivation n {}", volume.name));
        lvm(&format!("lvchange -an {}", volume.name));
    }
    let before = HostState::now();
    let backup = id(&host.run(0, &["backup", "create", &source.name]));
    host.run(0, &["restore", &backup, &target.name]);
    before.assert_unchanged();
    for volume in [&source, &target] {
        lvm(&format!("lvchange -ay {}", volume.name));
    }
    assert_equal(&source.path, &target.path);
    Ok(())
}

fn in_place() -> Result<(), Failed> {
    let host = Host::with_ext4();
    let volume = host.pool.volume("wrecked", 64 * MIB);
    let copy = host.thinmover.scratch().join("copy");
    // The second half is a hole, which the wreck fills.
    crate::job::random_file(&volume.path, 32 * MIB);
    thinmover_tests::fixtures::run("cp", &[volume.path.as_path(), &copy]);
    host.run(0, &["backup", "create", &volume.name]);
    crate::job::random_file(&volume.path, 64 * MIB);
    host.run(4, &["restore", "latest", &volume.name]);
    host.run(0, &["restore", "latest", &volume.name, "--yes"]);
    assert_equal(&copy, &volume.path);
    Ok(())
}

fn documents() -> Result<(), Failed> {
    let host = Host::with_ext4();
    let pools = host.thinmover.json(0, &["pools", "--standalone"]);
    let pool = pools["pools"].as_array().unwrap().iter().find(|p| p["name"] == host.pool.name());
    let pool = pool.unwrap();
    for key in
        ["name", "uuid", "sizeBytes", "dataPercent", "metadataPercent", "chunkBytes", "health"]
    {
        assert!(pool.get(key).is_some_and(|value| !value.is_null()), "{key} in {pool}");
    }
    assert_eq!((&pool["chunkBytes"], &pool["health"]), (&65536.into(), &"ok".into()));

    host.write_file("file", MIB);
    let backup = host.back_up();
    let volumes = host.thinmover.json(0, &["volumes", "--standalone"]);
    let volumes = volumes["volumes"].as_array().unwrap();
    let data = volumes.iter().find(|volume| volume["name"] == host.data.name).unwrap();
    for key in ["name", "uuid", "pool", "sizeBytes", "origin", "mounted", "lastBackup"] {
        assert!(data.get(key).is_some(), "{key} in {data}");
    }
    assert_eq!((&data["mounted"], &data["lastBackup"]), (&true.into(), &backup.into()));

    let create = ["snapshot", "create", &host.data.name, "--name", "kept", "--standalone"];
    host.thinmover.json(0, &create);
    let list = host.thinmover.json(0, &["snapshot", "list", "--standalone"]);
    let kept = &list["snapshots"][0];
    for key in ["name", "uuid", "origin", "sizeBytes", "createdAt", "mountedAt", "owner"] {
        assert!(kept.get(key).is_some(), "{key} in {kept}");
    }
    let snapshot = format!("{}/kept", host.pool.group);
    assert_eq!(kept["name"], snapshot);
    assert_eq!(kept["origin"], host.data.name);
    host.thinmover.json(0, &["snapshot", "delete", &snapshot, "--standalone"]);
    Ok(())
}
