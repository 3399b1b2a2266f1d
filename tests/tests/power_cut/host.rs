//! A guest with a thin pool and a repository whose disks survive it.

#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::path::PathBuf;

use thinmover_tests::guest::{Disk, Guest, Machine, Payload, Root};
use thinmover_tests::workspace;

/// Makes a thin pool with a volume that holds a file, and a repository.
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

/// What is left of jobs: of volumes and records there should be `data` and `pool`, and no held
/// metadata. The tag that names a volume's last backup is meant to stay.
pub(crate) const LEFT: &str = "\
lvs --noheadings --separator ' ' -o lv_name,lv_tags vg0 | sed 's/thinmover.base=[0-9a-f]*//'
dmsetup status vg0-pool-tpool | awk '$7 != \"-\" { print \"held metadata\", $7 }'
ls -A /var/lib/thinmover/records | grep -v '\\.lock$'
true";

/// Verifies every backup that is listed, and says how many these are.
pub(crate) const VERIFY: &str = "\
set -e
thinmover backup list --repo file:///var/backup --password-file /root/password --json |
    grep -o '\"id\":\"[0-9a-f]*\"' | cut -d'\"' -f4 > /run/ids
while read -r id; do
    thinmover backup verify $id --repo file:///var/backup --password-file /root/password >&2
done < /run/ids
wc -l < /run/ids";

/// The guest's disks and how it boots.
pub(crate) struct Host {
    machine: Machine,
    /// The build with crash points: it stands at this path inside, too.
    pub(crate) crash_binary: PathBuf,
    _folder: tempfile::TempDir,
}

impl Host {
    /// A guest that has booted for the first time.
    pub(crate) fn new() -> (Self, Guest) {
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
        let host = Self { machine, crash_binary, _folder: folder };
        let mut guest = host.boot();
        run(&mut guest, SET_UP);
        (host, guest)
    }

    /// Boots on the same disks.
    pub(crate) fn boot(&self) -> Guest {
        Guest::boot(&self.machine, None).unwrap()
    }
}

/// Runs a script that must succeed and returns its standard output.
#[track_caller]
pub(crate) fn run(guest: &mut Guest, script: &str) -> String {
    let output = guest.run(&["sh", "-c", script]).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status, 0, "{script}\n{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// The lines of [`LEFT`] on a host where nothing is left.
#[track_caller]
pub(crate) fn assert_nothing_left(left: &str, when: &str) {
    let mut lines: Vec<&str> = left.lines().map(str::trim).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["data", "pool"], "{when}");
}
