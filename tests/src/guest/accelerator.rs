//! Whether KVM runs the guest's kernel here.
//!
//! A usable `/dev/kvm` says little: in some virtual machines it opens and a kernel then hangs. So the
//! kernel is tried once, and the answer is kept beside the image for this host kernel.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::image::Image;

/// With KVM the kernel gives up for want of a root disk within two seconds.
const TRIAL_LIMIT: Duration = Duration::from_secs(10);

/// An old processor, which still runs what is built for x86-64-v2: each feature that the kernel or the C
/// library then leaves alone (SMAP, protection keys, fifth-level page tables, AVX) is one that need not
/// be emulated. AES and random numbers are added: without these instructions they are slower.
const EMULATED: &str = "Nehalem,cx16=off,+aes,+pclmulqdq,+rdrand";

/// How the guest's processor is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accelerator {
    /// The host's processor.
    Kvm,
    /// Software emulation, about ten times slower.
    Tcg,
}

impl Accelerator {
    /// The faster one that works with this image's kernel on this host.
    pub(super) fn probe(image: &Image) -> Result<Self> {
        if fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
            return Ok(Self::Tcg);
        }
        let host = fs::read_to_string("/proc/version").unwrap_or_default();
        let note = image.note("accelerator");
        if let Ok(text) = fs::read_to_string(&note)
            && let Some((accelerator, noted_host)) = text.split_once('\n')
            && noted_host == host
        {
            return Ok(if accelerator == "kvm" { Self::Kvm } else { Self::Tcg });
        }
        let works = kernel_runs_with_kvm(&image.kernel())?;
        let name = if works { "kvm" } else { "tcg" };
        let new = image.note(&format!("accelerator.{}", std::process::id()));
        fs::write(&new, format!("{name}\n{host}"))?;
        fs::rename(&new, &note)?;
        Ok(if works { Self::Kvm } else { Self::Tcg })
    }

    /// qemu's arguments.
    ///
    /// An emulated machine has one processor: two have to agree on every atomic instruction, which
    /// takes a fifth of the time away where two guests share two of the host's.
    pub(super) fn arguments(self) -> [&'static str; 6] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host", "-smp", "2"],
            Self::Tcg => ["-accel", "tcg", "-cpu", EMULATED, "-smp", "1"],
        }
    }
}

/// Starts the kernel without a root disk: it has run when it panics for want of one.
fn kernel_runs_with_kvm(kernel: &Path) -> Result<bool> {
    let console = tempfile::NamedTempFile::new()?;
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-nodefaults", "-display", "none", "-no-reboot", "-m", "512"]);
    qemu.args(Accelerator::Kvm.arguments());
    qemu.arg("-kernel").arg(kernel).args(["-append", "console=ttyS0 panic=-1"]);
    qemu.arg("-serial").arg(format!("file:{}", console.path().display()));
    qemu.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut qemu = qemu.spawn().context("cannot start qemu-system-x86_64")?;
    let limit = Instant::now() + TRIAL_LIMIT;
    while qemu.try_wait()?.is_none() {
        if Instant::now() > limit {
            qemu.kill()?;
            qemu.wait()?;
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let text = fs::read(console.path())?;
    Ok(String::from_utf8_lossy(&text).contains("Unable to mount root fs"))
}
