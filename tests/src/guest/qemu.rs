//! The machine's description and qemu's command line for it.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::accelerator::Accelerator;
use super::image::{Image, Suite};
use super::payload::Payload;

/// What to boot.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The Debian release inside.
    pub suite: Suite,
    /// The guest's memory.
    pub memory_bytes: u64,
    /// The root filesystem.
    pub root: Root,
    /// Disks, seen inside as `/dev/disk/by-id/virtio-disk0`, `…disk1` and so on.
    pub disks: Vec<Disk>,
    /// What is handed in.
    pub payload: Payload,
    /// How long the boot may take.
    pub boot_limit: Duration,
    /// Whether qemu's own terminal becomes the guest's `/dev/hvc0`, for an interactive shell.
    pub terminal: bool,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            suite: Suite::for_this_host(),
            memory_bytes: 1536 << 20,
            root: Root::Discarded,
            disks: Vec::new(),
            payload: Payload::default(),
            boot_limit: Duration::from_secs(180),
            terminal: false,
        }
    }
}

/// Where writes to the guest's root filesystem go.
#[derive(Clone, Debug)]
pub enum Root {
    /// Into a file that ends with the guest.
    Discarded,
    /// Into this image, copied from the cached one when it does not exist yet: what a guest has
    /// written stands there at the next boot.
    Kept(PathBuf),
}

/// A disk of the guest.
///
/// A kept disk models a drive with a volatile cache as far as killing qemu can. The guest is told of
/// the cache (`cache=writeback`) and so sends flushes; qemu hands each write to the host's page
/// cache before it reports it done, and the host lives on. So a power cut loses all that is
/// still in the guest's memory (dirty pages, the journal's open transaction, requests in the queue)
/// and may tear a request in flight, but keeps every write that was reported done, flushed or not,
/// where a real drive could lose the last ones.
#[derive(Clone, Debug)]
pub enum Disk {
    /// An empty disk of this many bytes that ends with the guest.
    Empty(u64),
    /// An image file of the caller, which survives a power cut.
    Kept(PathBuf),
}

/// The names of the ports that the guest's agent opens.
pub(super) const PORTS: [&str; 3] = ["control", "out", "err"];

/// qemu's command for a machine; `run` is a folder for the files of this run, in which a socket
/// listens for each of [`PORTS`].
pub(super) fn command(
    machine: &Machine,
    image: &Image,
    accelerator: Accelerator,
    run: &Path,
) -> Result<Command> {
    // Ended by the kernel with the thread that booted it, so that a killed test leaves no guest.
    let mut qemu = Command::new("setpriv");
    qemu.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]);
    qemu.args(["-machine", "q35", "-nodefaults", "-display", "none", "-no-reboot"]);
    qemu.args(accelerator.arguments());
    qemu.arg("-m").arg(format!("{}k", machine.memory_bytes / 1024));
    qemu.arg("-serial").arg(path_argument("file:", &run.join("console"), ""));
    qemu.arg("-kernel").arg(image.kernel()).arg("-initrd").arg(image.initrd());
    // On panic the machine would start again, which -no-reboot turns into the end of qemu.
    qemu.arg("-append");
    qemu.arg(
        "console=ttyS0 earlyprintk=ttyS0 quiet panic=-1 mitigations=off audit=0 root=/dev/vda rw",
    );

    match &machine.root {
        Root::Discarded => drive(&mut qemu, "root", &image.root(), "cache=unsafe,snapshot=on"),
        Root::Kept(path) => {
            if !path.exists() {
                copy_sparse(&image.root(), path)?;
            }
            drive(&mut qemu, "root", path, "cache=writeback");
        }
    }
    drive(&mut qemu, "payload", &run.join("payload.tar"), "cache=unsafe,read-only=on");
    for (index, disk) in machine.disks.iter().enumerate() {
        let name = format!("disk{index}");
        match disk {
            Disk::Empty(bytes) => {
                let path = run.join(&name);
                let file = File::create(&path).and_then(|file| file.set_len(*bytes));
                file.with_context(|| format!("cannot make a disk of {bytes} bytes"))?;
                drive(&mut qemu, &name, &path, "cache=unsafe,discard=unmap");
            }
            Disk::Kept(path) => drive(&mut qemu, &name, path, "cache=writeback,discard=unmap"),
        }
    }

    qemu.args(["-device", "virtio-serial-pci"]);
    for port in PORTS {
        let prefix = format!("socket,id={port},path=");
        qemu.arg("-chardev").arg(path_argument(&prefix, &run.join(port), ""));
        qemu.arg("-device").arg(format!("virtserialport,chardev={port},name={port}"));
    }
    if machine.terminal {
        qemu.args(["-chardev", "stdio,id=terminal,signal=off"]);
        qemu.args(["-device", "virtconsole,chardev=terminal"]);
    }
    Ok(qemu)
}

fn drive(qemu: &mut Command, name: &str, path: &Path, options: &str) {
    let suffix = format!(",if=none,id={name},format=raw,{options}");
    qemu.arg("-drive").arg(path_argument("file=", path, &suffix));
    qemu.arg("-device").arg(format!("virtio-blk-pci,drive={name},serial={name}"));
}

/// A path inside one of qemu's comma-separated options, where a comma is doubled.
fn path_argument(prefix: &str, path: &Path, suffix: &str) -> OsString {
    let mut argument = prefix.as_bytes().to_vec();
    for &byte in path.as_os_str().as_bytes() {
        argument.push(byte);
        if byte == b',' {
            argument.push(byte);
        }
    }
    argument.extend_from_slice(suffix.as_bytes());
    OsString::from_vec(argument)
}

fn copy_sparse(from: &Path, to: &Path) -> Result<()> {
    let mut copy = Command::new("cp");
    copy.args(["--sparse=always", "--reflink=auto", "--"]).arg(from).arg(to);
    crate::workspace::run_quietly(copy)
}
