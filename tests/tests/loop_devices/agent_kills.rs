//! The agent killed while a job runs, or hung and killed by the watchdog: after systemd has started it
//! again nothing is left, every listed backup is whole, and the job says how it ended.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use thinmover_tests::fixtures::{CRASH_BINARY, HostState, MIB, rounds, run};
use thinmover_tests::loop_devices::KILLS;

use crate::job::Host;
use crate::service::{STATE, Service, can_run, wait_for_journal, wait_until};

/// Where the agent kills itself: a point on each stretch of the road.
const POINTS: [&str; 11] = [
    "file:replace:before",
    "file:replace:after",
    "record:write:before",
    "record:write:after",
    "lvm:lvcreate:before",
    "lvm:lvcreate:after",
    "dm:reserve_metadata_snap:after",
    "store:put:outcome:before",
    "store:put:outcome:after",
    "lvm:lvremove:before",
    "lvm:lvremove:after",
];

pub(crate) fn trials() -> Vec<Trial> {
    let ignored = !can_run();
    [
        Trial::test("an_agent_killed_at_a_named_point_leaves_nothing", named).with_kind(KILLS),
        Trial::test("an_agent_killed_at_random_leaves_nothing", random),
        Trial::test("an_agent_whose_job_loop_hangs_is_restarted", hung_loop).with_kind(KILLS),
    ]
    .map(|trial| trial.with_ignored_flag(ignored))
    .into()
}

fn named() -> Result<(), Failed> {
    let service = Service::new(Host::with_ext4());
    let before = HostState::now();
    for point in POINTS {
        service.die_once_at(point);
        service.host.write_file("file", MIB);
        let submitted = service.run(&["backup", "create", &service.host.data.name, "--detach"]);
        // Killed while it takes the job on record, it answers nobody.
        if submitted.status == 0 {
            let document: serde_json::Value = serde_json::from_str(&submitted.stdout)?;
            let ended = service.end_of(document[0]["job"].as_str().unwrap());
            assert_eq!(ended["phase"], "Failed", "{point}: {ended}");
            assert_eq!(ended["reason"], "interrupted", "{point}: {ended}");
        }
        wait_until("systemd has started it again", || service.property("NRestarts") == "1");
        let is_left = release_unrecorded(&service);
        assert_eq!(is_left, point == "dm:reserve_metadata_snap:after", "{point}");
        service.assert_clean(&before, point);
    }
    service.verify_all();
    Ok(())
}

fn random() -> Result<(), Failed> {
    let service = Service::new(Host::with_ext4());
    service.drop_in("RestartSec=100ms\n[Unit]\nStartLimitIntervalSec=0");
    let host = &service.host;
    host.write_file("file", 16 * MIB);
    let before = HostState::now();
    let begun = Instant::now();
    service.json(0, &["backup", "create", &host.data.name]);
    let takes = begun.elapsed();
    let count = rounds(10);
    for round in 1..=count {
        host.write_file("file", MIB);
        let submitted = service.json(0, &["backup", "create", &host.data.name, "--detach"]);
        std::thread::sleep(takes * round / (count + 1) + Duration::from_millis(u64::from(round)));
        run("systemctl", &["kill", "--kill-whom=main", "-s", "KILL", "thinmover.service"]);
        let ended = service.end_of(submitted[0]["job"].as_str().unwrap());
        assert!(ended["phase"] == "Failed" || ended["phase"] == "Completed", "{round}: {ended}");
        release_unrecorded(&service);
        service.assert_clean(&before, &format!("round {round} of {count}"));
    }
    service.verify_all();
    Ok(())
}

/// Lets go, as the operator would, of a metadata snapshot that recovery could not tell to be ours, and
/// has the agent look again. Returns whether there was one.
fn release_unrecorded(service: &Service) -> bool {
    let is_left = service.host.pool.release_unrecorded(Path::new(STATE));
    if is_left {
        run("systemctl", &["restart", "thinmover.service"]);
    }
    is_left
}

/// The API goes on, and so must not feed the watchdog by itself. The job hangs as well, with its
/// snapshot, so that there is something to put back.
fn hung_loop() -> Result<(), Failed> {
    let service = Service::new(Host::with_ext4());
    let host = &service.host;
    let (list, log) = (host.thinmover.scratch().join("hang"), host.thinmover.scratch().join("log"));
    service.drop_in(&format!(
        "ExecStart=\nExecStart={} agent\nEnvironment=THINMOVER_HANG_LIST={} \
         THINMOVER_CRASH_LOG={}\nWatchdogSec=5\nRestartSec=100ms",
        std::env::var(CRASH_BINARY)?,
        list.display(),
        log.display()
    ));
    let hangs = |point: &str| {
        wait_until("a thread hangs", || {
            fs::read_to_string(&log).is_ok_and(|log| log.contains(&format!("{point} hangs\n")))
        });
    };
    host.write_file("file", MIB);
    let before = HostState::now();
    fs::write(&list, "lvm:lvremove:before\n")?;
    let submitted = service.json(0, &["backup", "create", &host.data.name, "--detach"]);
    let job = submitted[0]["job"].as_str().unwrap();
    hangs("lvm:lvremove:before");
    let pid = service.property("MainPID");
    fs::write(&list, "jobs:turn\n")?;
    hangs("jobs:turn");
    fs::remove_file(&list)?;
    let status = service.json(0, &["status"]);
    assert_eq!(status["jobs"][0]["id"], job, "{status}");
    assert_eq!(service.property("MainPID"), pid, "the agent with the hung loop answered");

    let ended = service.end_of(job);
    assert_eq!((&ended["phase"], &ended["reason"]), (&"Failed".into(), &"interrupted".into()));
    assert_eq!(service.property("NRestarts"), "1");
    wait_for_journal(&["-u", "thinmover.service", "-o", "cat"], &["Watchdog timeout"]);
    service.assert_clean(&before, "after the watchdog");
    service.verify_all();
    Ok(())
}
