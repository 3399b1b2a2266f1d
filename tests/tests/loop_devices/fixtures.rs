//! The fixtures themselves: that pools are real, and that they and the host's picture tell the truth.

use std::fs;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use thinmover_tests::fixtures::{HostState, MIB, ThinPool, Writer, lvm};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("a_thin_snapshot_keeps_what_the_origin_held", a_thin_snapshot_keeps_its_data),
        Trial::test("a_pool_leaves_nothing_behind", a_pool_leaves_nothing_behind),
        Trial::test(
            "a_picture_of_the_host_shows_a_tag_and_a_hold",
            a_picture_shows_a_tag_and_a_hold,
        ),
        Trial::test("a_mounted_volume_takes_writes_all_the_time", a_mounted_volume_takes_writes),
    ]
}

fn a_thin_snapshot_keeps_its_data() -> Result<(), Failed> {
    let pool = ThinPool::new();
    let origin = pool.volume("origin", 64 * MIB);
    fs::write(&origin.path, [1; 4096])?;
    lvm(&format!("lvcreate --quiet -s -kn -n taken {}", origin.name));
    fs::write(&origin.path, [2; 4096])?;
    assert_eq!(fs::read(pool.existing("taken").path)?[..4096], [1; 4096]);
    assert_eq!(fs::read(&origin.path)?[..4096], [2; 4096]);
    Ok(())
}

fn a_pool_leaves_nothing_behind() -> Result<(), Failed> {
    let before = HostState::now();
    let pool = ThinPool::new();
    let volume = pool.volume("data", 512 * MIB);
    let mounted = volume.format_xfs().mount();
    fs::write(mounted.path().join("file"), "text")?;
    assert_ne!(HostState::now(), before);
    drop((mounted, pool));
    before.assert_unchanged();
    Ok(())
}

fn a_picture_shows_a_tag_and_a_hold() -> Result<(), Failed> {
    let pool = ThinPool::new();
    let volume = pool.volume("data", 64 * MIB);
    let before = HostState::now();
    lvm(&format!("lvchange --quiet --addtag left.behind {}", volume.name));
    let device = format!("{}-pool-tpool", pool.group.replace('-', "--"));
    lvm(&format!("dmsetup message {device} 0 reserve_metadata_snap"));
    let difference = before.difference(&HostState::now());
    lvm(&format!("dmsetup message {device} 0 release_metadata_snap"));
    lvm(&format!("lvchange --quiet --deltag left.behind {}", volume.name));
    assert!(difference.contains("left.behind"), "{difference}");
    assert!(difference.contains("+ held metadata"), "{difference}");
    before.assert_unchanged();
    Ok(())
}

fn a_mounted_volume_takes_writes() -> Result<(), Failed> {
    let pool = ThinPool::new();
    let mounted = pool.volume("data", 512 * MIB).format_xfs().mount();
    let writer = Writer::start(mounted.path());
    std::thread::sleep(Duration::from_secs(1));
    assert!(writer.stop() > MIB);
    Ok(())
}
