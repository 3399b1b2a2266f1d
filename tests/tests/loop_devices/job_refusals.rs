//! Bad input and bad luck of jobs: a clear error with the fitting exit status, and nothing changed.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;
use thinmover_tests::fixtures::{Finished, HostState, MIB, Writer, run};

use crate::job::{Host, end, random_file, signal};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("unsuitable_sources_are_refused", sources),
        Trial::test("targets_in_use_too_small_or_holding_data_are_refused", targets),
        Trial::test("a_second_upload_of_one_volume_is_refused", at_once),
        Trial::test("without_rights_nothing_is_done", no_permission),
        Trial::test("a_full_repository_ends_the_upload_and_nothing_is_left", disk_full),
        Trial::test("a_pool_that_fills_up_ends_the_upload_and_the_application_lives", pool_fills),
        Trial::test("a_terminated_upload_removes_its_snapshot", terminated),
    ]
}

/// Runs a job that must fail so, with the host as it was.
#[track_caller]
fn refused(host: &Host, status: i32, code: &str, about: &str, words: &[&str]) {
    let before = HostState::now();
    let document = host.run(status, words);
    assert_eq!(document["error"]["code"], code, "{document}");
    let message = document["error"]["message"].as_str().unwrap();
    assert!(message.contains(about), "{message:?} does not name {about:?}");
    before.assert_unchanged();
}

fn sources() -> Result<(), Failed> {
    let host = Host::with_ext4();
    let thick = host.pool.thick_volume("thick", 8 * MIB);
    let missing = format!("{}/missing", host.pool.group);
    let pool = host.pool.name();
    refused(&host, 3, "not-found", &missing, &["backup", "create", &missing]);
    refused(&host, 4, "unsuitable", &thick.name, &["backup", "create", &thick.name]);
    refused(&host, 4, "unsuitable", &pool, &["backup", "create", &pool]);
    let direct = ["backup", "create", &host.data.name, "--copy-method", "direct"];
    refused(&host, 4, "unsuitable", &host.data.name, &direct);
    Ok(())
}

fn targets() -> Result<(), Failed> {
    let host = Host::with_ext4();
    host.write_file("file", MIB);
    let backup = host.back_up();

    // Its own source, mounted.
    for consent in [&["--yes"][..], &[]] {
        let words = [&["restore", &backup, &host.data.name], consent].concat();
        refused(&host, 4, "busy", "mounted", &words);
    }
    let small = host.pool.volume("small", 92 * MIB);
    let words = ["restore", &backup, &small.name, "--yes"];
    refused(&host, 4, "target-too-small", &small.name, &words);

    let target = host.other("target");
    let words = ["restore", &backup, &target.name, "--yes"];
    let held = File::options().read(true).custom_flags(nix::libc::O_EXCL).open(&target.path)?;
    refused(&host, 4, "busy", &target.name, &words);
    drop(held);

    let mapped = format!("0 {} linear {} 0", 96 * MIB / 512, target.path.display());
    run("dmsetup", &["create", "thinmover-test-above", "--table", &mapped]);
    refused(&host, 4, "busy", &target.name, &words);
    run("dmsetup", &["remove", "thinmover-test-above"]);

    random_file(&target.path, MIB);
    let words = ["restore", &backup, &target.name];
    refused(&host, 4, "confirmation-needed", &target.name, &words);
    let copy = host.thinmover.scratch().join("copy");
    random_file(&copy, MIB);
    host.run(0, &["restore", &backup, &target.name, "--yes"]);
    Ok(())
}

fn at_once() -> Result<(), Failed> {
    let host = Host::with_ext4();
    host.write_file("file", MIB);
    let before = HostState::now();
    let first = host.spawn(&["backup", "create", &host.data.name, "--json"]);
    host.stop_with_snapshot(&first);
    let second = host.run(4, &["backup", "create", &host.data.name]);
    assert_eq!(second["error"]["code"], "busy", "{second}");
    signal(&first, Signal::SIGCONT);
    let (status, report) = end(first);
    assert_eq!(status, Some(0), "{report}");
    before.assert_unchanged();
    assert_eq!(host.verify_all().len(), 1);
    Ok(())
}

fn no_permission() -> Result<(), Failed> {
    let host = Host::with_ext4();
    let before = HostState::now();
    // Readable for all, so that it is the volume and not a file that is out of reach.
    run("chmod", &["-R".as_ref(), "a+rwX".as_ref(), host.thinmover.scratch().as_os_str()]);
    let words = host.job(&["backup", "create", &host.data.name, "--json"]);
    let command = host.thinmover.command_line(&words);
    let finished = Finished::of(
        Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .args(command),
    )
    .expect_status(1);
    assert!(finished.stdout.contains("\"permission-denied\""), "{finished:?}");
    assert!(finished.stdout.contains("root"), "{finished:?}");
    before.assert_unchanged();
    Ok(())
}

fn disk_full() -> Result<(), Failed> {
    let host = Host::with_ext4();
    host.write_file("file", 48 * MIB);
    let repository = host.thinmover.repository_folder();
    let before = HostState::now();
    // A disk of 24 MiB, over a copy of the repository, which is small still.
    let copy = host.thinmover.scratch().join("copy");
    run("cp", &["-r".as_ref(), repository.as_os_str(), copy.as_os_str()]);
    let folder = repository.display().to_string();
    run("mount", &["-t", "tmpfs", "-o", "size=24M", "tmpfs", &folder]);
    run("cp", &["-r".into(), format!("{}/.", copy.display()), folder.clone()]);
    let document = host.run(1, &["backup", "create", &host.data.name]);
    let listed = host.verify_all();
    run("umount", &[&folder]);
    assert_eq!(document["error"]["code"], "no-space", "{document}");
    assert!(listed.is_empty());
    before.assert_unchanged();
    Ok(())
}

fn pool_fills() -> Result<(), Failed> {
    let host = Host::with_ext4();
    host.write_file("file", 16 * MIB);
    host.thinmover.configure("[pool]\nmax_data_percent = 30\n");
    let filler = host.pool.volume("filler", 600 * MIB);
    let writer = Writer::start(host.mounted.path());
    let before = HostState::now();
    let job = host.spawn(&["backup", "create", &host.data.name, "--json"]);
    host.stop_with_snapshot(&job);
    run(
        "dd",
        &["if=/dev/zero", &format!("of={}", filler.path.display()), "bs=1M", "status=none"]
            .map(str::to_owned)
            .into_iter()
            .chain(["count=500".to_owned(), "oflag=direct".to_owned()])
            .collect::<Vec<_>>(),
    );
    signal(&job, Signal::SIGCONT);
    let (status, document) = end(job);
    assert_eq!(status, Some(4), "{document}");
    assert_eq!(document["error"]["code"], "guard", "{document}");
    assert!(document["error"]["message"].as_str().unwrap().contains("data"), "{document}");
    before.assert_unchanged();
    assert!(writer.stop() > 0);
    assert!(host.verify_all().is_empty());
    Ok(())
}

fn terminated() -> Result<(), Failed> {
    let host = Host::with_ext4();
    host.write_file("file", 48 * MIB);
    let before = HostState::now();
    for name in [Signal::SIGTERM, Signal::SIGINT] {
        let job = host.spawn(&["backup", "create", &host.data.name, "--json"]);
        host.stop_with_snapshot(&job);
        signal(&job, name);
        signal(&job, Signal::SIGCONT);
        let (status, document) = end(job);
        assert_eq!(status, Some(1), "{document}");
        assert_eq!(document["error"]["code"], "canceled", "{document}");
        before.assert_unchanged();
    }
    assert!(host.verify_all().is_empty());
    Ok(())
}
