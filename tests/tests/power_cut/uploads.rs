//! The plug is pulled during an upload in the command line's own process: after the next start
//! nothing is left over, and every listed backup is whole.

#![allow(clippy::unwrap_used)]

use thinmover_tests::fixtures::CRASH_BINARY;

use crate::host::{Host, LEFT, VERIFY, assert_nothing_left, run};

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

/// The next start: any job begins with recovery.
const NEXT_START: &str = "thinmover snapshot create vg0/no-such-volume --standalone; true";

/// Where the plug is pulled: once each is passed.
const POINTS: [&str; 4] = [
    "record:write:after",
    "lvm:lvcreate:after",
    "store:put:index:after",
    "store:put:outcome:after",
];

#[test]
fn a_power_cut_during_an_upload_leaves_nothing() {
    let (host, mut guest) = Host::new();
    let binary = format!("{CRASH_BINARY}={}", host.crash_binary.display());
    let mut listed = 0;
    for point in POINTS {
        guest.run_until(&["env", &binary, "sh", "-c", UPLOAD], point).unwrap();
        guest.cut_power();
        guest = host.boot();
        run(&mut guest, NEXT_START);
        assert_nothing_left(&run(&mut guest, LEFT), &format!("cut at {point}"));
        let now: u32 = run(&mut guest, VERIFY).trim().parse().unwrap();
        assert!((listed..=listed + 1).contains(&now), "cut at {point}: {listed}, then {now}");
        listed = now;
    }
    assert!(listed > 0, "a cut after the commit leaves the backup");
    guest.power_off().unwrap();
}
