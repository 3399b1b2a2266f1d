//! The plug is pulled while the agent runs a job: the service of the next boot puts back what is
//! left before any client comes, and the agent says of the job how it ended.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use serde_json::Value;
use thinmover_tests::guest::Guest;

use crate::host::{Host, LEFT, VERIFY, assert_nothing_left, run};

/// Installs the service for good: its agent is the build with crash points, which tells `/run/points`
/// of each.
const INSTALL: &str = "\
set -e
mkdir -p /etc/thinmover /etc/systemd/system/thinmover.service.d
cat > /etc/thinmover/config.toml <<END
[repositories.backup]
url = 'file:///var/backup'
password_file = '/root/password'
END
cat > /etc/systemd/system/thinmover.service.d/test.conf <<END
[Service]
ExecStart=
ExecStart=BINARY agent
Environment=THINMOVER_CRASH_LOG=/run/points
END
systemctl daemon-reload
systemctl enable --now --quiet thinmover.socket thinmover-recover.service
sync";

/// Gives the agent a job and passes on the points that it comes to. The pipe is moved into its place:
/// an agent that is awake makes a file of that name at any moment there is none.
const UPLOAD: &str = "\
set -e
mount /dev/vg0/data /mnt
head -c 1M /dev/urandom > /mnt/more
sync
mkfifo /run/pipe
exec 3<>/run/pipe
cat <&3 &
mv -f /run/pipe /run/points
thinmover backup create vg0/data --detach >&2
sleep 1000";

/// Where the plug is pulled: once each is passed.
const POINTS: [&str; 3] = ["file:replace:after", "lvm:lvcreate:after", "store:put:outcome:after"];

/// Longer than a recovery takes in an emulated guest on a busy host.
const PATIENCE: Duration = Duration::from_secs(600);

const UNFINISHED: [&str; 5] = ["New", "Accepted", "Prepared", "InProgress", "Canceling"];

#[test]
fn a_power_cut_while_the_agent_runs_a_job_leaves_nothing() {
    let (host, mut guest) = Host::new();
    run(&mut guest, &INSTALL.replace("BINARY", host.crash_binary.to_str().unwrap()));
    let mut listed = 0;
    for (cuts, point) in (1..).zip(POINTS) {
        let when = format!("cut at {point}");
        guest.run_until(&["sh", "-c", UPLOAD], point).unwrap();
        guest.cut_power();
        guest = host.boot();

        // Before any client came: the recovery at boot did it.
        let states = "systemctl show --value -p ActiveState,Result \
                      thinmover.service thinmover-recover.service";
        assert_eq!(words(&run(&mut guest, states)), "success inactive success inactive", "{when}");
        assert_nothing_left(&run(&mut guest, LEFT), &when);

        let jobs = ended_jobs(&mut guest);
        assert_eq!(jobs.len(), cuts, "{when}: each job is on record: {jobs:?}");
        for job in &jobs {
            let (phase, reason) = (&job["phase"], &job["reason"]);
            let interrupted = phase == "Failed" && reason == "interrupted";
            assert!(interrupted || phase == "Completed", "{when}: {job}");
        }
        assert_nothing_left(&run(&mut guest, LEFT), &when);
        let now: u32 = run(&mut guest, VERIFY).trim().parse().unwrap();
        assert!((listed..=listed + 1).contains(&now), "{when}: {listed}, then {now}");
        listed = now;
    }
    assert_eq!(listed, 1, "only the last cut came after a commit");
    // Nothing keeps the volume from its next backup.
    run(&mut guest, "mount /dev/vg0/data /mnt && thinmover backup create vg0/data");
    guest.power_off().unwrap();
}

/// All jobs, once every one has ended.
fn ended_jobs(guest: &mut Guest) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let list: Value =
            serde_json::from_str(&run(guest, "thinmover job list --json; sleep 0.2")).unwrap();
        let jobs = list["jobs"].as_array().unwrap();
        if !jobs.iter().any(|job| UNFINISHED.iter().any(|phase| job["phase"] == *phase)) {
            return jobs.clone();
        }
        assert!(Instant::now() < deadline, "a job is stuck: {list}");
    }
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
