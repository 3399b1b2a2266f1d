//! The I/O engines under systemd: which one is taken, and that nothing else depends on it.
#![allow(clippy::unwrap_used)]

use std::fs;

use libtest_mimic::{Failed, Trial};
use thinmover_tests::fixtures::{HostState, MIB, run};

use crate::job::{Host, assert_equal, id, random_file};
use crate::service::{Service, can_run, wait_for_journal};

/// Linux 6.6 and RHEL 9: 0 allows io_uring to everybody. Kernels without the file do so, too.
const DISABLED: &str = "/proc/sys/kernel/io_uring_disabled";

pub(crate) fn trials() -> Vec<Trial> {
    [Trial::test("a_service_that_is_refused_io_uring_makes_the_same_backups", refused)]
        .map(|trial| trial.with_ignored_flag(!can_run()))
        .into()
}

fn refused() -> Result<(), Failed> {
    let service = Service::new(Host::with_ext4());
    let host = &service.host;
    // Nobody but us writes to it, unlike to a mounted one.
    let raw = host.other("raw");
    random_file(&raw.path, 32 * MIB);
    let before = HostState::now();

    let allowed = fs::read_to_string(DISABLED).map_or(true, |text| text.trim() == "0");
    let engine = service.json(0, &["status"])["engine"].clone();
    assert_eq!(engine, if allowed { "io_uring" } else { "blocking" });
    let first = service.json(0, &["backup", "create", &raw.name]);
    assert!(first["newBytes"].as_u64().unwrap() >= 32 * MIB, "{first}");

    service.drop_in("SystemCallFilter=~io_uring_setup:EPERM");
    run("systemctl", &["stop", "thinmover.service"]);
    let status = service.json(0, &["status"]);
    assert_eq!(status["engine"], "blocking");
    let reason = status["engineReason"].as_str().unwrap();
    assert!(reason.contains("refuses io_uring") && reason.contains("filter"), "{reason}");
    // All of it is read again, by the other engine.
    let second = service.json(0, &["backup", "create", &raw.name, "--parent", "none"]);
    assert_eq!(second["newBytes"], 0, "{second}");

    let target = host.other("target");
    service.json(0, &["restore", &id(&first), &target.name]);
    assert_equal(&raw.path, &target.path);
    run("lvremove", &["--quiet", "-f", &target.name]);
    service.assert_clean(&before, "with both engines");
    assert_eq!(service.verify_all(), 2);

    // Where nothing else will do, that is said, and how to go on.
    service.configure("[data_path]\nengine = \"io_uring\"");
    run("systemctl", &["stop", "thinmover.service"]);
    let failed = service.run(&["status", "--config", "/dev/null"]).expect_status(1);
    assert!(failed.stdout.contains("no-daemon"), "{}", failed.stdout);
    let why = "`data_path.engine` is \"io_uring\"";
    wait_for_journal(&["-u", "thinmover.service", "-o", "cat"], &[why]);
    Ok(())
}
