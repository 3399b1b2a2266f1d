//! What is installed: the program's size, the units, and what their sandbox lets the agent do and keeps
//! from it.
//!
//! Commands run in a unit with every property of an installed one but its program. On a host without
//! the units there is nothing to try: these trials are ignored then.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use thinmover_tests::fixtures::{Finished, HostState, MIB, Writer, lvm, run};
use thinmover_tests::loop_devices::is_guest;

use crate::job::{Host, assert_equal, end, id, signal};
use crate::service::{Service, can_run};

const PROGRAM: &str = "/usr/bin/thinmover";
/// An edge host's image is downloaded over thin lines.
const LARGEST_PROGRAM: u64 = 20 * MIB;
const SERVICE: &str = "/usr/lib/systemd/system/thinmover.service";
const RECOVER: &str = "/usr/lib/systemd/system/thinmover-recover.service";
const UNITS: [&str; 5] = [
    "thinmover.service",
    "thinmover.socket",
    "thinmover-recover.service",
    "thinmover-maintain.service",
    "thinmover-maintain.timer",
];
/// What `systemd-analyze security` may say of a unit, in tenths. Services of its kind without a sandbox
/// score 92 to 96.
const MOST_EXPOSED: [(&str, &str); 3] = [
    ("thinmover.service", "--threshold=35"),
    ("thinmover-recover.service", "--threshold=42"),
    ("thinmover-maintain.service", "--threshold=30"),
];

pub(crate) fn trials() -> Vec<Trial> {
    let ignored = !is_guest() && !Path::new(SERVICE).exists();
    [
        Trial::test("the_installed_program_is_small", size),
        Trial::test("the_installed_units_verify_and_the_service_is_sandboxed", units),
        Trial::test("jobs_do_all_their_work_in_the_services_sandbox", jobs),
        Trial::test("lvm_has_nothing_to_complain_of_in_the_services_sandbox", lvm_commands),
        Trial::test("the_recovery_at_boot_does_all_its_work_in_its_sandbox", recovery),
        Trial::test("a_mount_of_the_service_is_gone_when_it_is_killed", mounts),
        Trial::test("an_lvm_command_outlives_a_killed_service", outlives),
        Trial::test("a_place_the_sandbox_keeps_read_only_is_an_error_that_says_so", read_only)
            .with_ignored_flag(!can_run()),
    ]
    .map(|trial| if ignored { trial.with_ignored_flag(true) } else { trial })
    .into()
}

fn size() -> Result<(), Failed> {
    let bytes = fs::metadata(PROGRAM)?.len();
    assert!(bytes <= LARGEST_PROGRAM, "{PROGRAM} has {bytes} bytes");
    Ok(())
}

fn units() -> Result<(), Failed> {
    let verified =
        Finished::of(Command::new("systemd-analyze").arg("verify").args(UNITS)).expect_status(0);
    assert_eq!((verified.stdout.as_str(), verified.stderr.as_str()), ("", ""));
    for (unit, most) in MOST_EXPOSED {
        run("systemd-analyze", &["security", "--no-pager", most, unit]);
    }
    Ok(())
}

fn jobs() -> Result<(), Failed> {
    let host = Host::with_xfs();
    host.write_file("file", 32 * MIB);
    let unit = Unit::new("oneshot");
    let thinmover = |words: &[&str]| {
        let command = host.thinmover.command_line(&host.job(words));
        let words: Vec<String> =
            command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        unit.run(&words).expect_status(0)
    };
    let before = HostState::now();
    let writer = Writer::start(host.mounted.path());
    thinmover(&["backup", "create", &host.data.name]);
    assert!(writer.stop() > 0);
    before.assert_unchanged();

    let (made, pool) = (format!("{}/made", host.pool.group), host.pool.name());
    thinmover(&["restore", "latest", &made, "--source", &host.data.name, "--create", &pool]);
    // Into a new file, which stands where the host sees it.
    let file = host.thinmover.scratch().join("image").display().to_string();
    thinmover(&["restore", "latest", &file, "--source", &host.data.name]);
    assert_equal(Path::new(&file), &host.pool.existing("made").path);
    lvm(&format!("lvremove --quiet -f {made}"));
    before.assert_unchanged();
    host.verify_all();
    Ok(())
}

/// LVM goes on, and only says so on standard error, where it may not lock its memory, raise its
/// priority or write its backups.
fn lvm_commands() -> Result<(), Failed> {
    let host = Host::with_ext4();
    let unit = Unit::new("oneshot");
    let lvm = |words: String| {
        let words: Vec<&str> = words.split_whitespace().collect();
        let done = unit.run(&words).expect_status(0);
        assert_eq!(done.stderr, "", "{}", done.command);
    };
    let (data, group) = (&host.data.name, &host.pool.group);
    let before = HostState::now();
    lvm("/usr/sbin/lvs -a".to_owned());
    lvm(format!("/usr/sbin/lvcreate -s -n shot -ky -pr {data}"));
    lvm(format!("/usr/sbin/lvchange -ay -K {group}/shot"));
    assert_eq!(fs::read(format!("/dev/{group}/shot"))?.len() as u64, 96 * MIB);
    lvm(format!("/usr/sbin/lvchange -an {group}/shot"));
    lvm(format!("/usr/sbin/lvremove -y {group}/shot"));
    lvm(format!("/usr/sbin/lvcreate -y -V 32M -Wn --thinpool pool -n new {group}"));
    // A host's first change of an LVM volume can be ours, and there is no folder yet.
    let folder = format!("/etc/lvm/{group}");
    lvm(format!("/usr/sbin/lvremove -y {group}/new --config backup/archive_dir=\"{folder}\""));
    fs::remove_dir_all(folder)?;
    lvm("/usr/sbin/dmsetup status".to_owned());
    before.assert_unchanged();
    let backup = fs::read_to_string(format!("/etc/lvm/backup/{group}"))?;
    assert!(backup.contains("lvremove -y"), "{backup}");
    Ok(())
}

/// It unmounts for everybody.
fn recovery() -> Result<(), Failed> {
    let host = Host::with_ext4();
    host.write_file("file", 16 * MIB);
    let unit = Unit::like(RECOVER, "oneshot");
    let seen = unit.run(&["/usr/bin/readlink", "/proc/self/ns/mnt"]).expect_status(0);
    assert_eq!(seen.stdout.trim(), fs::read_link("/proc/self/ns/mnt")?.to_str().unwrap());
    let listed = unit.run(&["/usr/sbin/lvs", "-a"]).expect_status(0);
    assert_eq!(listed.stderr, "");

    let before = HostState::now();
    let folder = host.thinmover.scratch().join("mount");
    fs::create_dir(&folder)?;
    let folder = folder.display().to_string();
    run("mount", &["-t", "tmpfs", "none", &folder]);
    unit.run(&["/usr/bin/umount", &folder]).expect_status(0);
    let job = host.spawn(&["backup", "create", &host.data.name]);
    host.stop_with_snapshot(&job);
    signal(&job, Signal::SIGKILL);
    end(job);
    let command = host.thinmover.command_line(&["agent", "--recover"]);
    let command: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    unit.run(&command).expect_status(0);
    before.assert_unchanged();
    Ok(())
}

fn mounts() -> Result<(), Failed> {
    let host = Host::with_ext4();
    let (group, folder) = (&host.pool.group, host.thinmover.scratch().join("mount"));
    fs::create_dir(&folder)?;
    lvm(&format!("lvcreate --quiet -s -n shot -ky -pr {}", host.data.name));
    lvm(&format!("lvchange -ay -K {group}/shot"));
    let before = HostState::now();

    let unit = Unit::new("exec");
    let folder = folder.display();
    let script = format!("mount -o ro,noload /dev/{group}/shot {folder} && exec sleep 1000");
    let main = unit.start(&["/bin/sh", "-c", &script]);
    let mounted =
        || fs::read_to_string(format!("/proc/{main}/mountinfo")).unwrap().contains("shot");
    wait_until("it is mounted in the service", mounted);
    before.assert_unchanged();
    kill(main, Signal::SIGKILL)?;
    unit.wait_until_failed();
    lvm(&format!("lvremove --quiet -y {group}/shot"));
    Ok(())
}

fn outlives() -> Result<(), Failed> {
    let unit = Unit::new("exec");
    let main = unit.start(&["/bin/sh", "-c", "sleep 1000 & echo $! ; wait"]);
    wait_until("the command runs", || unit.stdout().ends_with('\n'));
    let child = Pid::from_raw(unit.stdout().trim().parse()?);
    kill(main, Signal::SIGKILL)?;
    unit.wait_until_failed();
    kill(child, Signal::SIGKILL).map_err(|_| "it was killed with the service")?;
    Ok(())
}

/// The configuration and its password file are only read; what is written stands elsewhere, or the
/// administrator allows it as the error says.
fn read_only() -> Result<(), Failed> {
    let service = Service::new(Host::with_ext4());
    let host = &service.host;
    host.write_file("file", MIB);
    let password_file = "/etc/thinmover/password";
    fs::copy(host.thinmover.password_file(), password_file)?;
    let repository = format!("file://{REPOSITORY}");
    let to_etc = ["--repo", &repository, "--password-file", password_file];
    let back_up = [&["backup", "create", &host.data.name][..], &to_etc].concat();
    let backup = id(&service.json(0, &["backup", "create", &host.data.name]));
    run("cp", &["-r", &host.thinmover.repository_folder().display().to_string(), REPOSITORY]);

    let before = HostState::now();
    for words in [&back_up[..], &["restore", &backup, IMAGE], &["restore", &backup, "/usr/image"]] {
        let failed = service.json(1, words);
        assert_eq!(failed["error"]["code"], "permission-denied", "{failed}");
        for part in ["ProtectSystem=", "ReadWritePaths=", "systemctl edit thinmover.service"] {
            assert!(failed["error"]["hint"].as_str().unwrap().contains(part), "{failed}");
        }
    }
    service.assert_clean(&before, "refused");

    service.drop_in("ReadWritePaths=/etc/thinmover");
    run("systemctl", &["restart", "thinmover.service"]);
    service.json(0, &back_up);
    service.json(0, &["restore", &backup, IMAGE]);
    service.assert_clean(&before, "allowed");
    Ok(())
}

/// Below a folder that goes with the [`Service`].
const REPOSITORY: &str = "/etc/thinmover/repository";
const IMAGE: &str = "/etc/thinmover/image";

/// A unit like an installed one but for its program. Removed when dropped.
struct Unit {
    like: &'static str,
    kind: &'static str,
    folder: tempfile::TempDir,
}

/// What is of the program, not of its surroundings.
const PROGRAMS: [&str; 5] = ["Type=", "Exec", "Restart", "NotifyAccess=", "WatchdogSec="];

impl Unit {
    const NAME: &str = "thinmover-sandbox-test.service";

    /// Like `thinmover.service`.
    fn new(kind: &'static str) -> Self {
        Self::like(SERVICE, kind)
    }

    fn like(installed: &'static str, kind: &'static str) -> Self {
        Self { like: installed, kind, folder: tempfile::tempdir().unwrap() }
    }

    /// Runs a command to its end.
    fn run<S: AsRef<str>>(&self, command: &[S]) -> Finished {
        self.write(command);
        Finished::of(Command::new("systemctl").args(["start", Self::NAME]));
        Finished {
            command: command.iter().map(|word| format!("{} ", word.as_ref())).collect(),
            status: self.property("ExecMainStatus").parse().unwrap(),
            stdout: self.stdout(),
            stderr: fs::read_to_string(self.folder.path().join("err")).unwrap(),
        }
    }

    /// Starts a command and leaves it running.
    fn start(&self, command: &[&str]) -> Pid {
        self.write(command);
        run("systemctl", &["start", Self::NAME]);
        Pid::from_raw(self.property("MainPID").parse().unwrap())
    }

    fn stdout(&self) -> String {
        fs::read_to_string(self.folder.path().join("out")).unwrap()
    }

    fn wait_until_failed(&self) {
        wait_until("the unit has failed", || self.property("ActiveState") == "failed");
    }

    fn property(&self, name: &str) -> String {
        run("systemctl", &["show", "--value", "--property", name, Self::NAME]).trim().to_owned()
    }

    fn write<S: AsRef<str>>(&self, command: &[S]) {
        let installed = fs::read_to_string(self.like).unwrap();
        let (_, service) = installed.split_once("[Service]").unwrap();
        let (service, _) = service.split_once("[Install]").unwrap();
        let mut text = format!("[Service]\nType={}\n", self.kind);
        for line in service.lines() {
            if !PROGRAMS.iter().any(|program| line.starts_with(program)) {
                text += &format!("{line}\n");
            }
        }
        for (stream, file) in [("Output", "out"), ("Error", "err")] {
            let path = self.folder.path().join(file);
            fs::write(&path, "").unwrap();
            text += &format!("Standard{stream}=truncate:{}\n", path.display());
        }
        text += "ExecStart=";
        for word in command {
            let word = word.as_ref().replace('\\', r"\\").replace('"', "\\\"");
            text += &format!("\"{}\" ", word.replace('%', "%%").replace('$', "$$"));
        }
        fs::write(Self::path(), text + "\n").unwrap();
        run("systemctl", &["daemon-reload"]);
    }

    fn path() -> String {
        format!("/run/systemd/system/{}", Self::NAME)
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        for words in [["stop", Self::NAME], ["reset-failed", Self::NAME]] {
            Finished::of(Command::new("systemctl").args(words));
        }
        let _ = fs::remove_file(Self::path());
        Finished::of(Command::new("systemctl").arg("daemon-reload"));
    }
}

fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !happened() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
