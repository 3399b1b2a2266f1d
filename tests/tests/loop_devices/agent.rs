//! The agent under systemd, through its socket.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use thinmover_tests::fixtures::{Finished, HostState, MIB, Writer, lvm, run};

use crate::job::{Host, assert_equal, id};
use crate::service::{Service, can_run, wait_for_journal, wait_until};

const SOCKET: &str = "/run/thinmover/api.sock";
/// What `journalctl` shows of the agent.
const JOURNAL: [&str; 4] = ["-u", "thinmover.service", "-o", "cat"];

pub(crate) fn trials() -> Vec<Trial> {
    let ignored = !can_run();
    [
        Trial::test("a_backup_and_a_restore_by_the_socket_leave_nothing", main_job),
        Trial::test("a_reload_with_a_broken_file_keeps_the_settings_and_says_why", reload),
        Trial::test("a_hung_agent_is_restarted_by_the_watchdog", watchdog),
        Trial::test("a_job_outlives_its_command_line_and_can_be_canceled", detached),
        Trial::test("a_stopped_service_ends_its_job_and_leaves_nothing", stopped),
        Trial::test("what_keeps_the_agent_from_starting_is_said", no_start),
        Trial::test("maintenance_by_its_unit_gives_back_what_was_deleted", maintenance),
    ]
    .map(|trial| trial.with_ignored_flag(ignored))
    .into()
}

fn main_job() -> Result<(), Failed> {
    let service = Service::new(Host::with_xfs());
    let host = &service.host;
    host.write_file("file", 32 * MIB);
    assert_eq!(service.property("ActiveState"), "inactive");
    let status = service.json(0, &["status"]);
    assert_eq!(service.property("ActiveState"), "active");
    assert_eq!(status["repositories"][0]["name"], "test");
    for key in ["version", "engine", "engineReason", "jobs"] {
        assert!(status.get(key).is_some(), "{key} in {status}");
    }
    let is_idle = || resident_kib(&service) <= 16 * 1024;
    assert!(is_idle(), "{} KiB", resident_kib(&service));

    // Half requests that nobody finishes are in nobody's way, and leave nothing.
    let half: Vec<_> = (0..1000).map(|_| half_request()).collect();
    service.json(0, &["status"]);
    assert!(!is_idle(), "a crowd costs nothing: then there is nothing to see here");
    drop(half);
    wait_until("the crowd's memory is given back", is_idle);

    let before = HostState::now();
    let writer = Writer::start(host.mounted.path());
    let report = service.json(0, &["backup", "create", &host.data.name]);
    assert!(writer.stop() > 0);
    before.assert_unchanged();
    let backup = id(&report);
    let made = format!("{}/made", host.pool.group);
    let restored = service.json(0, &["restore", &backup, &made, "--create", &host.pool.name()]);
    assert_eq!(restored["id"], backup.as_str());
    wait_until("the jobs' memory is given back", is_idle);
    let again = host.other("again");
    host.run(0, &["restore", &backup, &again.name]);
    assert_equal(&host.pool.existing("made").path, &again.path);
    lvm(&format!("lvremove --quiet -f {made} {}", again.name));
    before.assert_unchanged();

    let jobs = service.json(0, &["job", "list"]);
    let phases: Vec<_> =
        jobs["jobs"].as_array().unwrap().iter().map(|job| job["phase"].clone()).collect();
    assert_eq!(phases, ["Completed", "Completed"]);
    assert_eq!(service.json(0, &["backup", "list"])["backups"][0]["id"], backup.as_str());
    assert_eq!(service.json(0, &["backup", "show", &backup])["id"], backup.as_str());

    let snapshot = service.json(0, &["snapshot", "create", &host.data.name, "--name", "kept"]);
    let name = format!("{}/kept", host.pool.group);
    assert_eq!(snapshot["name"], name);
    service.json(0, &["snapshot", "delete", &name]);
    before.assert_unchanged();

    // Wrong from the start, and wrong on the way, with the same exit status as without the agent.
    assert_eq!(
        service.json(3, &["backup", "create", "no-such-volume"])["error"]["code"],
        "not-found"
    );
    run("systemctl", &["stop", "thinmover.service"]);
    service.assert_clean(&before, "stopped and started again");
    Ok(())
}

fn half_request() -> UnixStream {
    let mut stream = UnixStream::connect(SOCKET).unwrap();
    let _ = stream.write_all(b"GET /v1/health HTTP/1.1\r\nHost: ");
    stream
}

fn resident_kib(service: &Service) -> u64 {
    let status =
        fs::read_to_string(format!("/proc/{}/status", service.property("MainPID"))).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn reload() -> Result<(), Failed> {
    let service = Service::new(Host::with_ext4());
    service.json(0, &["status"]);
    let pid = service.property("MainPID");
    service.configure("[pool]\nmax_dta_percent = 3");
    Finished::of(Command::new("systemctl").args(["reload", "thinmover.service"])).expect_status(1);
    assert_eq!(service.property("MainPID"), pid);
    wait_for_journal(&JOURNAL, &["max_dta_percent"]);

    // Also when the signal comes by itself. The agent goes on with what it has.
    run("systemctl", &["kill", "--kill-whom=main", "-s", "HUP", "thinmover.service"]);
    wait_for_journal(&JOURNAL, &["stays in force"]);
    service.configure("[jobs]\nmax_running = 2");
    assert_eq!(service.json(0, &["status"])["repositories"][0]["name"], "test");
    run("systemctl", &["reload", "thinmover.service"]);
    assert_eq!(service.property("MainPID"), pid);
    Ok(())
}

fn watchdog() -> Result<(), Failed> {
    let service = Service::new(Host::with_ext4());
    service.drop_in("WatchdogSec=5");
    service.json(0, &["status"]);
    let pid = service.property("MainPID");
    run("systemctl", &["kill", "--kill-whom=main", "-s", "STOP", "thinmover.service"]);
    wait_until("another agent runs", || {
        !["0", &pid].contains(&service.property("MainPID").as_str())
            && service.property("ActiveState") == "active"
    });
    service.json(0, &["status"]);
    Ok(())
}

fn detached() -> Result<(), Failed> {
    let service = Service::new(Host::with_ext4());
    let host = &service.host;
    host.write_file("file", 16 * MIB);
    let before = HostState::now();
    let job = held_job(&service);
    assert_eq!(service.json(4, &["backup", "create", &host.data.name])["error"]["code"], "busy");
    host.pool.message("release_metadata_snap");
    let report = service.json(0, &["job", "watch", &job]);
    assert_eq!(report["job"], job.as_str());
    assert_eq!(service.end_of(&job)["snapshotID"], report["id"]);
    assert_event(&job, JOB_COMPLETED, &[("THINMOVER_BACKUP", &id(&report))]);

    let job = held_job(&service);
    service.json(0, &["job", "cancel", &job]);
    let ended = service.end_of(&job);
    host.pool.message("release_metadata_snap");
    assert_eq!(ended["phase"], "Canceled", "{ended}");
    assert_eq!(service.json(1, &["job", "watch", &job])["error"]["code"], "canceled");
    assert_event(&job, JOB_CANCELED, &[("THINMOVER_CODE", "canceled")]);
    service.assert_clean(&before, "after a job was canceled");
    assert_eq!(service.verify_all(), 1);
    Ok(())
}

fn stopped() -> Result<(), Failed> {
    let service = Service::new(Host::with_ext4());
    let host = &service.host;
    let before = HostState::now();
    let job = held_job(&service);
    run("systemctl", &["stop", "thinmover.service"]);
    host.pool.message("release_metadata_snap");
    before.assert_unchanged();
    assert_eq!(service.property("Result"), "success");
    assert_event(&job, JOB_CANCELED, &[("THINMOVER_CODE", "canceled")]);
    let ended = service.end_of(&job);
    assert_eq!((&ended["phase"], &ended["reason"]), (&"Canceled".into(), &"canceled".into()));
    assert!(ended["message"].as_str().unwrap().contains("the agent, which is stopping"), "{ended}");
    service.assert_clean(&before, "after the service was stopped");
    assert_eq!(service.verify_all(), 0);
    Ok(())
}

/// An upload of the agent's with a snapshot that waits, for half a minute at most, until the pool's
/// metadata is let go of.
fn held_job(service: &Service) -> String {
    service.json(0, &["status"]);
    let host = &service.host;
    host.pool.message("reserve_metadata_snap");
    let submitted = service.json(0, &["backup", "create", &host.data.name, "--detach"]);
    let job = submitted[0]["job"].as_str().unwrap().to_owned();
    wait_until("the job waits for the metadata", || {
        service.json(0, &["job", "show", &job])["message"] == "reading the pool's metadata"
    });
    job
}

/// As `systemd/thinmover.catalog` has them.
const JOB_COMPLETED: &str = "df651adfac1b4cc1977d23fa39d55a7b";
const JOB_CANCELED: &str = "5b05df16dc484493b6b7c114f39a4669";

/// The journal has an event of the job with these fields beside those that every one has.
#[track_caller]
fn assert_event(job: &str, id: &str, fields: &[(&str, &str)]) {
    let of_job = format!("THINMOVER_JOB={job}");
    let told = wait_for_journal(&[&of_job, "-o", "json"], &[id]);
    let entries = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let entry = entries.into_iter().find(|entry| entry["MESSAGE_ID"] == id).unwrap();
    let kind = [("THINMOVER_KIND", "upload"), ("_SYSTEMD_UNIT", "thinmover.service")];
    for (field, value) in kind.iter().chain(fields) {
        assert_eq!(entry[field], **value, "{entry}");
    }
    assert!(entry["THINMOVER_VOLUME"].is_string() && entry["MESSAGE"].is_string(), "{entry}");
}

fn no_start() -> Result<(), Failed> {
    let service = Service::new(Host::with_ext4());
    service.configure("[jobs]\nmax_runing = 1");
    let failed = service.json(2, &["status"]);
    assert!(failed["error"]["message"].as_str().unwrap().contains("max_runing"), "{failed}");
    // Another configuration for the command line: the agent still reads the broken one.
    let words = ["status", "--config", "/dev/null"];
    let failed = service.json(1, &words);
    assert_eq!(failed["error"]["code"], "no-daemon", "{failed}");
    service.configure("");
    run("systemctl", &["reset-failed", "thinmover.service", "thinmover.socket"]);
    run("systemctl", &["start", "thinmover.socket"]);
    service.json(0, &words);

    let second = Finished::of(Command::new("/usr/bin/thinmover").args(["agent", "--json"]));
    assert!(second.stdout.contains("another agent"), "{}", second.stdout);
    assert_eq!(second.status, 4);
    Ok(())
}

/// As its timer starts it, on the default repository.
fn maintenance() -> Result<(), Failed> {
    let service = Service::new(Host::with_ext4());
    let host = &service.host;
    let folder = host.thinmover.repository_folder();
    let stored_kib = || -> u64 {
        let words = ["-sk", folder.to_str().unwrap()];
        run("du", &words).split_whitespace().next().unwrap().parse().unwrap()
    };
    host.write_file("file", 32 * MIB);
    let backup = id(&service.json(0, &["backup", "create", &host.data.name]));
    service.json(0, &["backup", "create", &host.other("other").name]);
    service.json(0, &["backup", "delete", &backup, "--yes"]);
    let before = stored_kib();
    run("systemctl", &["start", "thinmover-maintain.service"]);
    let after = stored_kib();
    assert!(after + 24 * 1024 < before, "{before} KiB, then {after}");
    wait_for_journal(&["-u", "thinmover-maintain.service", "-o", "cat"], &["given back"]);
    assert_eq!(service.verify_all(), 1);
    Ok(())
}
