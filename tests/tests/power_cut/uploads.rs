//! The plug is pulled during an upload: after the next start nothing is left over, and every listed
//! backup is whole.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use thinmover_tests::fixtures::CRASH_BINARY;
use thinmover_tests::guest::{Disk, Guest, Machine, Payload, Root};
use thinmover_tests::workspace;

/// Makes a thin pool with a mounted volume that an application writes, and a repository.
const SET_UP: &str = "\
set -e
vgcreate --quiet vg0 /dev/disk/by-id/virtio-disk0
lvcreate --quiet --type thin-pool -L 700M -n pool vg0
lvcreate --quiet -V 512M --thinpool pool -n data vg0
mkfs.xfs -q /dev/vg0/data
mount /dev/vg0/data /mnt
head -c 16M /dev/urandom > /mnt/file
umount /mnt
echo 'correct horse battery staple' > /root/password
thinmover repo init file:///var/backup --password-file /root/password
sync";

/// Uploads, while the names of the crash points it passes go to standard output.
const UPLOAD: &str = "\
mount /dev/vg0/data /mnt
head -c 1M /dev/urandom > /mnt/more
sync
mkfifo /run/points
exec 3<>/run/points
cat <&3 &
THINMOVER_CRASH_LOG=/run/points $THINMOVER_CRASH_BIN backup create vg0/data --standalone \\
    --repo file:///var/backup --password-file /root/password";

/// The next start: any job begins with recovery. Then what is left, and every listed backup.
const NEXT_START: &str = "\
thinmover snapshot create vg0/no-such-volume --standalone
lvs --noheadings --separator ' ' -o lv_name,lv_tags vg0
ls -A /var/lib/thinmover/records | grep -v '\\.lock$'
set -e
thinmover backup list --repo file:///var/backup --password-file /root/password --json |
    grep -o '\"id\":\"[0-9a-f]*\"' | cut -d'\"' -f4 > /run/ids
while read -r id; do
    thinmover backup verify $id --repo file:///var/backup --password-file /root/password >&2
done < /run/ids
echo verified $(wc -l < /run/ids)";

/// Where the plug is pulled: once each is passed.
const POINTS: [&str; 4] = [
    "record:write:after",
    "lvm:lvcreate:after",
    "store:put:index:after",
    "store:put:outcome:after",
];

#[test]
fn a_power_cut_during_an_upload_leaves_nothing() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let disk = folder.path().join("disk");
    File::create(&disk).unwrap().set_len(1 << 30).unwrap();
    let crash_binary = workspace::build_with_crash_points().unwrap();
    let machine = Machine {
        root: Root::Kept(folder.path().join("root")),
        disks: vec![Disk::Kept(disk)],
        payload: Payload::installed_with([crash_binary.clone()]),
        ..Machine::default()
    };
    let mut guest = Guest::boot(&machine, None).unwrap();
    run(&mut guest, SET_UP);
    let mut listed = 0;
    for point in POINTS {
        guest.run_until(&upload(&crash_binary), point).unwrap();
        guest.cut_power();
        guest = Guest::boot(&machine, None).unwrap();
        let left = run(&mut guest, NEXT_START);
        let lines: BTreeSet<&str> = left.lines().map(str::trim).collect();
        let verified = lines.iter().find_map(|line| line.strip_prefix("verified ")).unwrap();
        let now: u32 = verified.parse().unwrap();
        let expected = BTreeSet::from(["data", "pool", lines.last().unwrap()]);
        assert_eq!(lines, expected, "cut at {point}");
        assert!((listed..=listed + 1).contains(&now), "cut at {point}: {listed}, then {now}");
        listed = now;
    }
    assert!(listed > 0, "a cut after the commit leaves the backup");
    guest.power_off().unwrap();
}

fn upload(crash_binary: &Path) -> [String; 5] {
    let variable = format!("{CRASH_BINARY}={}", crash_binary.display());
    ["env".into(), variable, "sh".into(), "-c".into(), UPLOAD.into()]
}

/// Runs a script that must succeed and returns its standard output.
fn run(guest: &mut Guest, script: &str) -> String {
    let output = guest.run(&["sh", "-c", script]).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status, 0, "{script}\n{stderr}");
    String::from_utf8(output.stdout).unwrap()
}
