//! While a snapshot of ours is active, the names of its origin stay with the origin: real udev, the
//! installed rule. On a host without the rule these trials are ignored.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use thinmover_tests::fixtures::{HostState, MIB, Thinmover, Volume, lvm, run};
use thinmover_tests::loop_devices::is_guest;

use crate::job::Host;
use crate::service::{Service, can_run, wait_until};

const INSTALLED: &str = "/usr/lib/udev/rules.d/12-thinmover.rules";
const LABEL: &str = "application";

pub(crate) fn trials() -> Vec<Trial> {
    let installed = is_guest() || Path::new(INSTALLED).exists();
    let renamed = is_guest() || DEBIAN_NAMES.iter().all(|(name, _)| installed_rule(name).exists());
    vec![
        Trial::test("a_backups_snapshot_takes_no_name_from_its_origin", backup)
            .with_ignored_flag(!installed || !can_run()),
        Trial::test("a_mounted_snapshot_takes_no_name_from_its_origin", mounted)
            .with_ignored_flag(!installed),
        Trial::test("a_mounted_snapshot_takes_no_name_either_by_lvm2s_numbers", lvm2_names)
            .with_ignored_flag(!installed || !renamed),
        Trial::test("a_snapshot_that_others_activate_is_not_kept_from_udev", by_others)
            .with_ignored_flag(!installed),
    ]
}

fn backup() -> Result<(), Failed> {
    let service = Service::new(named_host());
    // It is stopped for longer than the watchdog allows.
    service.drop_in("WatchdogSec=0");
    let host = &service.host;
    host.write_file("file", 48 * MIB);
    let before = HostState::now();
    let report = service.json(0, &["backup", "create", &host.data.name, "--detach"]);
    let job = report[0]["job"].as_str().unwrap();
    let mut snapshot = None;
    wait_until("the backup's snapshot is active", || {
        snapshot = fs::read_dir(host.data.path.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .find(|name| name.starts_with("thinmover-"));
        snapshot.is_some()
    });
    let agent = Pid::from_raw(service.property("MainPID").parse()?);
    kill(agent, Signal::SIGSTOP)?;
    let snapshot = host.pool.existing(&snapshot.unwrap());
    for moment in [Moment::Activated, Moment::Changed, Moment::AddedAgain] {
        moment.come();
        assert_origin_keeps_its_names(&host.data, &snapshot, moment);
    }
    kill(agent, Signal::SIGCONT)?;
    assert_eq!(service.end_of(job)["phase"], "Completed");
    before.assert_unchanged();
    Ok(())
}

fn mounted() -> Result<(), Failed> {
    let _rules = Rules::that_watch();
    let host = named_host();
    let before = HostState::now();
    standalone(&host.thinmover, &["create", &host.data.name, "--name", "kept"]);
    let snapshot = host.pool.existing("kept");
    standalone(&host.thinmover, &["mount", &snapshot.name]);
    let mount = mount_of(&snapshot);
    for moment in [Moment::Activated, Moment::Changed, Moment::AddedAgain] {
        moment.come();
        assert_origin_keeps_its_names(&host.data, &snapshot, moment);
        // systemd unmounts what stands on a device that it believes to be gone.
        assert_eq!(mount_of(&snapshot), mount, "{moment:?}");
    }
    standalone(&host.thinmover, &["unmount", &snapshot.name]);
    standalone(&host.thinmover, &["delete", &snapshot.name]);
    before.assert_unchanged();
    Ok(())
}

fn lvm2_names() -> Result<(), Failed> {
    let _rules = Rules::with_lvm2_names();
    mounted()
}

/// Neither our name, nor our snapshot, nor that it once was mounted by us.
fn by_others() -> Result<(), Failed> {
    let host = named_host();
    lvm(&format!("lvcreate --quiet -s -kn -n thinmover-0123abcd {}", host.data.name));
    let named_like_ours = host.pool.existing("thinmover-0123abcd");
    standalone(&host.thinmover, &["create", &host.data.name, "--name", "kept"]);
    let kept = host.pool.existing("kept");
    standalone(&host.thinmover, &["mount", &kept.name]);
    standalone(&host.thinmover, &["unmount", &kept.name]);
    lvm(&format!("lvchange --quiet -ay -K {}", kept.name));
    Moment::Activated.come();
    for volume in [&named_like_ours, &kept] {
        let links = links_to(volume);
        assert!(
            links.iter().any(|link| link.starts_with("/dev/disk/by-id")),
            "{}: {links:?}",
            volume.name
        );
    }
    // Mounted as it is then, it stays as it is.
    standalone(&host.thinmover, &["mount", &kept.name]);
    Moment::Changed.come();
    assert!(!links_to(&kept).is_empty());
    mount_of(&kept);
    standalone(&host.thinmover, &["unmount", &kept.name]);
    Ok(())
}

/// When it is looked whether the names are where they belong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    Activated,
    /// The rules run again, as after `udevadm trigger`.
    Changed,
    /// As at boot, for devices that an initramfs activated.
    AddedAgain,
}

impl Moment {
    fn come(self) {
        let action = match self {
            Self::Activated => {
                run("udevadm", &["settle"]);
                return;
            }
            Self::Changed => "--action=change",
            Self::AddedAgain => "--action=add",
        };
        run("udevadm", &["trigger", "--settle", "--subsystem-match=block", action]);
    }
}

/// A host whose filesystem has both a UUID and a label, and links for them.
fn named_host() -> Host {
    let host = Host::with_ext4();
    run("tune2fs", &["-L".as_ref(), LABEL.as_ref(), host.data.path.as_os_str()]);
    Moment::Changed.come();
    host
}

#[track_caller]
fn assert_origin_keeps_its_names(origin: &Volume, snapshot: &Volume, moment: Moment) {
    let device = origin.path.display().to_string();
    let uuid = run("blkid", &["-p", "-s", "UUID", "-o", "value", &device]);
    for link in [format!("by-uuid/{}", uuid.trim()), format!("by-label/{LABEL}")] {
        let link = Path::new("/dev/disk").join(link);
        assert_eq!(real(&link), real(&origin.path), "{}, {moment:?}", link.display());
    }
    assert_eq!(links_to(snapshot), [] as [PathBuf; 0], "{moment:?}");
    // What thinmover itself opens is there.
    let mapper = format!("/dev/mapper/{}", snapshot.name.replace('-', "--").replace('/', "-"));
    assert_eq!(real(Path::new(&mapper)), real(&snapshot.path), "{moment:?}");
    // Nothing was probed, so rules that go by what is on a device find nothing; the others are told.
    let known = run("udevadm", &["info", "--query=property", &snapshot.path.display().to_string()]);
    assert!(!known.contains("ID_FS_"), "{moment:?}:\n{known}");
    assert!(known.contains("DM_UDEV_DISABLE_OTHER_RULES_FLAG=1\n"), "{moment:?}:\n{known}");
    // udevd watches a device only after the event that settled.
    wait_until("udev watches the origin", || is_watched(origin));
    assert!(!is_watched(snapshot), "{moment:?}");
}

/// The links below `/dev/disk` that lead to a volume.
fn links_to(volume: &Volume) -> Vec<PathBuf> {
    let device = real(&volume.path);
    let entries = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries(Path::new("/dev/disk"))
        .flat_map(|folder| entries(&folder))
        .filter(|link| real(link) == device)
        .collect()
}

/// The device's own node.
#[track_caller]
fn real(link: &Path) -> PathBuf {
    link.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", link.display()))
}

/// Whether udev is told when somebody closes the device after writing (`src/udev/udev-watch.c` of
/// systemd notes it so).
fn is_watched(volume: &Volume) -> bool {
    let number = fs::metadata(&volume.path).unwrap().rdev();
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    Path::new(&format!("/run/udev/watch/b{major}:{minor}")).is_symlink()
}

/// Where a snapshot is mounted.
#[track_caller]
fn mount_of(snapshot: &Volume) -> String {
    let device = real(&snapshot.path).display().to_string();
    run("findmnt", &["--noheadings", "--output", "TARGET", "--source", &device])
}

#[track_caller]
fn standalone(thinmover: &Thinmover, words: &[&str]) {
    let words: Vec<&str> =
        ["snapshot"].iter().chain(words).chain(&["--standalone"]).copied().collect();
    thinmover.run(&words).expect_status(0);
}

/// Debian's names of lvm2's rule files, and lvm2's own, which other distributions keep.
const DEBIAN_NAMES: [(&str, &str); 3] = [
    ("55-dm.rules", "10-dm.rules"),
    ("56-lvm.rules", "11-dm-lvm.rules"),
    ("60-persistent-storage-dm.rules", "13-dm-disk.rules"),
];

fn installed_rule(name: &str) -> PathBuf {
    Path::new("/usr/lib/udev/rules.d").join(name)
}

/// Rules besides the installed ones, and instead of them where they have the same name, until dropped.
struct Rules {
    files: Vec<PathBuf>,
}

impl Rules {
    fn new() -> Self {
        Self { files: Vec::new() }
    }

    /// A device is watched on behalf of some other package, as `60-block.rules` does for disks.
    fn that_watch() -> Self {
        let mut rules = Self::new();
        let file = rules.path("90-thinmover-test.rules");
        fs::write(file, "ACTION!=\"remove\", KERNEL==\"dm-*\", OPTIONS+=\"watch\"\n").unwrap();
        run("udevadm", &["control", "--reload"]);
        rules
    }

    /// lvm2's rules under lvm2's own names instead of Debian's.
    fn with_lvm2_names() -> Self {
        let mut rules = Self::new();
        for (debian, own) in DEBIAN_NAMES {
            symlink(installed_rule(debian), rules.path(own)).unwrap();
            symlink("/dev/null", rules.path(debian)).unwrap();
        }
        run("udevadm", &["control", "--reload"]);
        rules
    }

    fn path(&mut self, name: &str) -> PathBuf {
        let folder = Path::new("/run/udev/rules.d");
        fs::create_dir_all(folder).unwrap();
        let path = folder.join(name);
        self.files.push(path.clone());
        path
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
        run("udevadm", &["control", "--reload"]);
    }
}
