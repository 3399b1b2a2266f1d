//! The power cut itself: it must lose what was only in memory and keep what was flushed.

use std::fs::File;

use thinmover_tests::guest::{Disk, Guest, Machine, Root};

/// Writes a flushed and a never flushed file to the root and to a disk, says so, and goes on.
const WRITE: &str = "\
set -e
mkfs.ext4 -q /dev/disk/by-id/virtio-disk0
mount /dev/disk/by-id/virtio-disk0 /mnt
sync
for folder in /var/lib /mnt; do
    echo flushed > $folder/flushed
    sync $folder/flushed $folder
    echo in memory only > $folder/unflushed
done
echo written
sleep 1000";

const READ: &str = "\
mount /dev/disk/by-id/virtio-disk0 /mnt
cat /var/lib/flushed /mnt/flushed
cat /var/lib/unflushed /mnt/unflushed 2>/dev/null
exit 0";

#[test]
fn a_guest_comes_back_on_the_same_disks_after_a_power_cut() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let disk = folder.path().join("disk");
    File::create(&disk).unwrap().set_len(256 << 20).unwrap();
    let machine = Machine {
        root: Root::Kept(folder.path().join("root")),
        disks: vec![Disk::Kept(disk)],
        ..Machine::default()
    };

    let mut guest = Guest::boot(&machine, None).unwrap();
    guest.run_until(&["sh", "-c", WRITE], "written").unwrap();
    guest.cut_power();

    let mut guest = Guest::boot(&machine, None).unwrap();
    let read = guest.run(&["sh", "-c", READ]).unwrap();
    let stdout = String::from_utf8(read.stdout).unwrap();
    assert_eq!(stdout, "flushed\nflushed\n", "{}", String::from_utf8_lossy(&read.stderr));
    guest.power_off().unwrap();
}
