//! The guest's root image: built once by mmdebstrap and cached.
//!
//! The cache folder's name holds a hash of everything that goes into the image, so a change of the
//! recipe builds a new one. Runs never write to a cached image.

use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::workspace::run_quietly;

/// The size the root filesystem has inside the guest; the image is sparse.
const ROOT_BYTES: u64 = 16 << 30;

/// An image nobody has started for this long is removed when another one is built.
const KEEP_UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "udev",
    "dbus",
    "kmod",
    "procps",
    "util-linux",
    "linux-image-cloud-amd64",
    "lvm2",
    "thin-provisioning-tools",
    "xfsprogs",
    "e2fsprogs",
    "strace",
];

/// What the tests never need, left out for the size of the image.
const LEFT_OUT: &[&str] = &["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"];

/// What the initramfs loads, and all it holds.
const EARLY_MODULES: &str = "virtio_pci\nvirtio_blk\nvirtio_console\next4\n";

/// Units that no test needs; under software emulation each costs time at every boot.
const MASKED_UNITS: &[&str] = &[
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty-static.service",
    "getty@tty1.service",
    "modprobe@configfs.service",
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
    "modprobe@fuse.service",
    "proc-sys-fs-binfmt_misc.automount",
    "serial-getty@hvc0.service",
    "serial-getty@ttyS0.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-binfmt.service",
    "systemd-initctl.socket",
    "systemd-journal-flush.service",
    "systemd-journald-audit.socket",
    "systemd-logind.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-pcrphase.service",
    "systemd-random-seed.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
    "systemd-user-sessions.service",
    // /tmp stays on the root disk, where --with may put large files, in every suite.
    "tmp.mount",
];

/// Drivers that udev finds a device for and no test needs.
const UNUSED_MODULES: &str = "blacklist kvm_amd\nblacklist kvm_intel\nblacklist evdev\n\
blacklist button\nblacklist serio_raw\nblacklist qemu_fw_cfg\n";

/// Files of the guest: path, permissions, content.
const FILES: &[(&str, u32, &str)] = &[
    ("usr/lib/guest/agent", 0o755, include_str!("files/agent")),
    ("usr/lib/guest/shell", 0o755, include_str!("files/shell")),
    ("etc/systemd/system/guest-agent.service", 0o644, include_str!("files/guest-agent.service")),
    (
        "etc/initramfs-tools/scripts/init-bottom/unpack-payload",
        0o755,
        include_str!("files/unpack-payload"),
    ),
    ("etc/initramfs-tools/conf.d/guest", 0o644, "MODULES=list\nCOMPRESS=gzip\nRESUME=none\n"),
    ("usr/share/initramfs-tools/modules.d/guest", 0o644, EARLY_MODULES),
    ("etc/modprobe.d/guest.conf", 0o644, UNUSED_MODULES),
    // Instead of Debian's, which empties /tmp at boot.
    ("etc/tmpfiles.d/tmp.conf", 0o644, "d /tmp 1777 root root\nd /var/tmp 1777 root root\n"),
];

const FINISH: &str = include_str!("files/finish-image");

/// A Debian release, by codename.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suite(pub String);

impl Suite {
    /// `THINMOVER_GUEST_SUITE`, or the host's own release where that is Debian 12 or 13, or Debian
    /// 13. Tests are built on the host, so the guest's C library must not be older than the host's.
    pub fn for_this_host() -> Self {
        if let Ok(name) = std::env::var("THINMOVER_GUEST_SUITE") {
            return Self(name);
        }
        Self::of_host(&fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    fn of_host(os_release: &str) -> Self {
        let host = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        match host.map(|name| name.trim_matches('"')) {
            Some(name @ ("bookworm" | "trixie")) => Self(name.to_owned()),
            _ => Self("trixie".to_owned()),
        }
    }
}

/// The folder of a cached image.
#[derive(Clone, Debug)]
pub struct Image {
    directory: PathBuf,
}

impl Image {
    /// The image for a suite, built first where the cache has none (about a minute, and it needs
    /// Debian's archive). Builds exclude each other by a lock.
    pub fn cached(suite: &Suite) -> Result<Self> {
        let cache = cache_directory()?;
        let mirror = std::env::var("THINMOVER_GUEST_MIRROR").ok();
        let directory = cache.join(format!("{}-{}", suite.0, recipe_hash(mirror.as_deref())));
        let image = Self { directory };
        if !image.is_complete() {
            let lock = File::create(cache.join("lock")).context("cannot lock the image cache")?;
            lock.lock().context("cannot lock the image cache")?;
            if !image.is_complete() {
                remove_unused(&cache)?;
                build(suite, mirror.as_deref(), &image.directory)
                    .with_context(|| format!("cannot build the guest's image of {}", suite.0))?;
            }
        }
        // The time of last use, for `remove_unused`.
        File::create(image.directory.join("used")).context("cannot mark the image as used")?;
        Ok(image)
    }

    /// The root filesystem, a raw ext4 image.
    pub fn root(&self) -> PathBuf {
        self.directory.join("root.img")
    }

    /// The kernel.
    pub fn kernel(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// The initramfs.
    pub fn initrd(&self) -> PathBuf {
        self.directory.join("initrd")
    }

    /// A note kept beside the image, as which accelerator runs its kernel.
    pub fn note(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn is_complete(&self) -> bool {
        self.root().exists()
    }
}

fn cache_directory() -> Result<PathBuf> {
    let named = |variable: &str| {
        std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
    };
    let directory = named("THINMOVER_GUEST_CACHE")
        .or_else(|| named("XDG_CACHE_HOME").map(|cache| cache.join("thinmover-guest")))
        .or_else(|| named("HOME").map(|home| home.join(".cache/thinmover-guest")))
        .context("no cache folder: neither THINMOVER_GUEST_CACHE nor HOME is set")?;
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make the cache folder {}", directory.display()))?;
    Ok(directory)
}

fn recipe_hash(mirror: Option<&str>) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    for (path, mode, content) in FILES {
        add(path);
        add(&mode.to_string());
        add(content);
    }
    for text in PACKAGES.iter().chain(LEFT_OUT).chain(MASKED_UNITS) {
        add(text);
    }
    add(FINISH);
    add(&ROOT_BYTES.to_string());
    add(mirror.unwrap_or_default());
    hasher.finalize().to_hex()[..12].to_owned()
}

fn build(suite: &Suite, mirror: Option<&str>, directory: &Path) -> Result<()> {
    // Only a person is told: what a guest's command prints comes with nothing beside it.
    if std::io::stderr().is_terminal() {
        eprintln!("guest: building the root image of Debian {} (once)", suite.0);
    }
    let work = tempfile::Builder::new().prefix("thinmover-image.").tempdir_in("/var/tmp")?;
    let skeleton = work.path().join("skeleton");
    write_skeleton(&skeleton)?;
    let skeleton_tar = work.path().join("skeleton.tar");
    let mut tar = Command::new("tar");
    // Root's, whoever builds the image; only the folders below, for the top one is there already.
    tar.args(["--create", "--owner=0", "--group=0", "--mode=u+rwX,go+rX,go-w", "--file"]);
    tar.arg(&skeleton_tar).arg("--directory").arg(&skeleton).args(["etc", "usr"]);
    run_quietly(tar)?;
    let finish = work.path().join("finish-image");
    write_file(&finish, 0o755, FINISH)?;
    let new = directory.with_extension("new");
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    fs::create_dir_all(&new)?;

    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args(["--quiet", "--variant=minbase", "--format=null"]);
    mmdebstrap.arg(format!("--include={}", PACKAGES.join(",")));
    mmdebstrap.args(LEFT_OUT.iter().map(|path| format!("--dpkgopt=path-exclude={path}")));
    mmdebstrap.arg(format!("--essential-hook=tar-in {} /", skeleton_tar.display()));
    mmdebstrap.arg(format!("--customize-hook={}", finish.display()));
    mmdebstrap.arg(format!("--customize-hook=sync-out /downloads {}", new.display()));
    mmdebstrap.args([&suite.0, "/dev/null"]).args(mirror);
    run_quietly(with_system_path(mmdebstrap))?;

    let root = new.join("root.img");
    File::options().write(true).open(&root)?.set_len(ROOT_BYTES)?;
    let mut resize = Command::new("resize2fs");
    resize.arg(&root);
    run_quietly(with_system_path(resize))?;

    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::rename(&new, directory)?;
    Ok(())
}

fn write_skeleton(skeleton: &Path) -> Result<()> {
    for (path, mode, content) in FILES {
        write_file(&skeleton.join(path), *mode, content)?;
    }
    for unit in MASKED_UNITS {
        symlink("/dev/null", skeleton.join("etc/systemd/system").join(unit))?;
    }
    Ok(())
}

fn write_file(path: &Path, mode: u32, content: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create(path)?.write_all(content.as_bytes())?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// An ordinary user's PATH lacks the folders where mke2fs and its like are.
fn with_system_path(mut command: Command) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

/// Called under the lock, so a half-built image is what a failed build left.
fn remove_unused(cache: &Path) -> Result<()> {
    for entry in fs::read_dir(cache)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "new") {
            fs::remove_dir_all(&path)?;
            continue;
        }
        let Ok(used) = path.join("used").metadata().and_then(|used| used.modified()) else {
            continue;
        };
        if SystemTime::now().duration_since(used).is_ok_and(|age| age > KEEP_UNUSED) {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Suite;

    #[test]
    fn the_guest_has_the_release_of_a_debian_host_and_else_debian_13() {
        let of = |text: &str| Suite::of_host(text).0;
        assert_eq!(of("ID=debian\nVERSION_CODENAME=bookworm\n"), "bookworm");
        assert_eq!(of("VERSION_CODENAME=\"trixie\"\n"), "trixie");
        assert_eq!(of("ID=debian\nVERSION_CODENAME=bullseye\n"), "trixie");
        assert_eq!(of("ID=fedora\n"), "trixie");
    }
}
