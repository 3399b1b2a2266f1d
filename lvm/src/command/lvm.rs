//! The LVM commands, each built in one place.
//!
//! Changing commands name their volume by `--select` on UUID and tag inside a group, so that LVM
//! itself checks, under the group's own lock, that it touches what is meant: a name can have been
//! given to another volume since it was looked up. A selection that matches nothing is a success
//! that changes nothing, so callers re-read the state.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use thinmover_io::crash_point;

use super::run::{CommandError, Program, Run};
use crate::lock;
use crate::names::{LvName, LvmUuid, Tag, VgName};
use crate::report::{LVS_FIELDS, PV_SEGMENT_FIELDS, PVS_FIELDS, REPORT_OPTIONS, VGS_FIELDS};
use crate::units::{Bytes, SECTOR_BYTES};

const LVM: Program = Program { name: "lvm", package: "lvm2" };
/// Where udev keeps its state; LVM would wait for ever for a udev that does not run.
const UDEV_RUNTIME_DIR: &str = "/run/udev";
/// How long a command waits for its turn.
const LOCK_WAIT: Duration = Duration::from_secs(120);
const WITHOUT_UDEV: &str = "activation/udev_sync=0 activation/udev_rules=0";

/// Runs LVM commands, one at a time on the host.
#[derive(Debug)]
pub(crate) struct LvmCommands {
    lock: PathBuf,
    time_limit: Duration,
    lock_wait: Duration,
}

impl LvmCommands {
    pub(crate) fn new(runtime_dir: &Path, time_limit: Duration) -> Self {
        let lock = runtime_dir.join("lvm.lock");
        Self { lock, time_limit, lock_wait: LOCK_WAIT }
    }

    /// The JSON of `lvs -a` over all groups, or over `group` alone.
    pub(crate) fn lvs(&self, group: Option<&VgName>) -> Result<String, CommandError> {
        let mut arguments = vec!["lvs", "-a"];
        arguments.extend(REPORT_OPTIONS);
        arguments.extend(["-o", LVS_FIELDS]);
        arguments.extend(group.map(VgName::as_str));
        self.run(&arguments)
    }

    /// The JSON of `vgs`.
    pub(crate) fn vgs(&self) -> Result<String, CommandError> {
        let mut arguments = vec!["vgs"];
        arguments.extend(REPORT_OPTIONS);
        arguments.extend(["-o", VGS_FIELDS]);
        self.run(&arguments)
    }

    /// The JSON of `pvs`.
    pub(crate) fn pvs(&self) -> Result<String, CommandError> {
        let mut arguments = vec!["pvs"];
        arguments.extend(REPORT_OPTIONS);
        arguments.extend(["-o", PVS_FIELDS]);
        self.run(&arguments)
    }

    /// The JSON of `pvs --segments` of one group.
    pub(crate) fn pv_segments(&self, group: &LvmUuid) -> Result<String, CommandError> {
        let which = format!("vg_uuid={group}");
        let mut arguments = vec!["pvs", "--segments"];
        arguments.extend(REPORT_OPTIONS);
        arguments.extend(["-o", PV_SEGMENT_FIELDS, "--select", &which]);
        self.run(&arguments)
    }

    /// What `lvm systemid` prints.
    pub(crate) fn system_id(&self) -> Result<String, CommandError> {
        self.run(&["systemid"])
    }

    /// A read-only thin snapshot that carries `tag` from birth and is skipped by activation
    /// (`-ky`, whatever lvm.conf says of new snapshots).
    pub(crate) fn create_snapshot(
        &self,
        group: &VgName,
        origin: &LvName,
        name: &LvName,
        tag: &Tag,
    ) -> Result<(), CommandError> {
        let origin = format!("{group}/{origin}");
        let arguments = ["lvcreate", "--yes", "-s", "-n", name.as_str(), "-pr", "-ky"];
        let last = ["--addtag", tag.as_str(), origin.as_str()];
        self.change("lvcreate", &[&arguments[..], &last].concat())
    }

    /// A thin volume of `size` in `pool` that carries `tag` from birth. Old signatures are not
    /// looked for: its chunks are new.
    pub(crate) fn create_thin(
        &self,
        group: &VgName,
        pool: &LvName,
        name: &LvName,
        size: Bytes,
        tag: &Tag,
    ) -> Result<(), CommandError> {
        // LVM takes whole sectors only, and rounds those up to the group's extents.
        let sectors = size.0.div_ceil(SECTOR_BYTES);
        let (pool, size) = (format!("{group}/{pool}"), format!("{sectors}s"));
        let arguments = ["lvcreate", "--yes", "-n", name.as_str(), "-V", &size, "-ay", "-kn"];
        let last = ["-Wn", "--addtag", tag.as_str(), "--thinpool", &pool];
        self.change("lvcreate", &[&arguments[..], &last].concat())
    }

    /// Removes the volume that has both `uuid` and `tag`, deactivating it first. Fails while it is
    /// open.
    pub(crate) fn remove(
        &self,
        group: &VgName,
        uuid: &LvmUuid,
        tag: &Tag,
    ) -> Result<(), CommandError> {
        let which = format!("lv_uuid={uuid} && lv_tags={{\"{tag}\"}}");
        self.change("lvremove", &["lvremove", "--yes", "--select", &which, group.as_str()])
    }

    /// Activates the volume `uuid`, one marked to be skipped too.
    pub(crate) fn activate(&self, group: &VgName, uuid: &LvmUuid) -> Result<(), CommandError> {
        self.lvchange("activate", group, uuid, &["-ay", "-K"])
    }

    /// Deactivates the volume `uuid`; fails while it is open.
    pub(crate) fn deactivate(&self, group: &VgName, uuid: &LvmUuid) -> Result<(), CommandError> {
        self.lvchange("deactivate", group, uuid, &["-an"])
    }

    /// Takes the tags `off` the volume `uuid` and puts `on` on it.
    pub(crate) fn change_tags(
        &self,
        group: &VgName,
        uuid: &LvmUuid,
        off: &[Tag],
        on: Option<&Tag>,
    ) -> Result<(), CommandError> {
        let off = off.iter().flat_map(|tag| ["--deltag", tag.as_str()]);
        let on = on.into_iter().flat_map(|tag| ["--addtag", tag.as_str()]);
        self.lvchange("retag", group, uuid, &off.chain(on).collect::<Vec<_>>())
    }

    /// Takes `tag` off the volume `uuid`.
    pub(crate) fn remove_tag(
        &self,
        group: &VgName,
        uuid: &LvmUuid,
        tag: &Tag,
    ) -> Result<(), CommandError> {
        self.lvchange("deltag", group, uuid, &["--deltag", tag.as_str()])
    }

    fn lvchange(
        &self,
        step: &str,
        group: &VgName,
        uuid: &LvmUuid,
        options: &[&str],
    ) -> Result<(), CommandError> {
        let which = format!("lv_uuid={uuid}");
        let ends = ["--select", which.as_str(), group.as_str()];
        self.change(step, &[&["lvchange", "--yes"], options, &ends].concat())
    }

    fn change(&self, step: &str, arguments: &[&str]) -> Result<(), CommandError> {
        crash_point(&format!("lvm:{step}:before"));
        let result = self.run(arguments);
        crash_point(&format!("lvm:{step}:after"));
        result.map(drop)
    }

    fn run(&self, arguments: &[&str]) -> Result<String, CommandError> {
        let mut all: Vec<&OsStr> = Vec::with_capacity(arguments.len() + 2);
        // The subcommand comes first; its options may stand in any order.
        let (subcommand, rest) = arguments.split_at(arguments.len().min(1));
        all.extend(subcommand.iter().map(OsStr::new));
        if !Path::new(UDEV_RUNTIME_DIR).exists() {
            all.extend([OsStr::new("--config"), OsStr::new(WITHOUT_UDEV)]);
        }
        all.extend(rest.iter().map(OsStr::new));

        let mut run =
            Run { program: LVM, arguments: all, stdin: Stdio::null(), time_limit: self.time_limit };
        let lock = match lock::acquire(&self.lock, self.lock_wait) {
            Ok(Some(lock)) => lock,
            Ok(None) => {
                return Err(CommandError::Locked {
                    command: run.to_string(),
                    lock: self.lock.clone(),
                    waited_seconds: self.lock_wait.as_secs(),
                });
            }
            Err(source) => {
                return Err(CommandError::LockFile { path: self.lock.clone(), source });
            }
        };
        // Moved, not duplicated: it is the child's alone, and gone with it.
        run.stdin = Stdio::from(lock);
        run.stdout()
    }
}
