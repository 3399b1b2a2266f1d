//! Which engines there are, and whether the kernel lets us use a ring.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::thread;

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::uring::runtime;

/// An engine that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// A ring shared with the kernel.
    IoUring,
    /// Threads that wait for the disk.
    Blocking,
}

const PROBE: &[u8] = b"probe";

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IoUring => "io_uring",
            Self::Blocking => "blocking",
        })
    }
}

/// Whether a ring can be had here and reads: kernels are built without, administrators switch it
/// off, and containers' and services' system call filters forbid it.
///
/// # Errors
/// The kernel's reason, in a sentence.
pub(super) fn probe() -> io::Result<()> {
    // On a thread of its own: a runtime cannot start on one that has one.
    let probe = thread::Builder::new().name("io_uring probe".into()).spawn(read_by_ring)?;
    let read = probe.join().map_err(|_| io::Error::other("the probe of io_uring panicked"))?;
    read.map_err(explain)
}

fn read_by_ring() -> io::Result<()> {
    let runtime = runtime()?;
    let mut file = File::from(memfd_create(c"thinmover-probe", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(PROBE)?;
    runtime.block_on(async {
        let file = tokio_uring::fs::File::from_std(file);
        let (read, bytes) = file.read_at(vec![0; PROBE.len()], 0).await;
        file.close().await?;
        if read? == PROBE.len() && bytes == PROBE {
            Ok(())
        } else {
            Err(io::Error::other("it read other bytes than there are"))
        }
    })
}

/// The kernel's reason not to give us a ring, in a sentence.
pub(super) fn explain(error: io::Error) -> io::Error {
    let why = match error.kind() {
        // Linux 6.6 and RHEL 9: Documentation/admin-guide/sysctl/kernel.rst, io_uring_disabled.
        io::ErrorKind::PermissionDenied => {
            "; the sysctl kernel.io_uring_disabled or a system call filter forbids it"
        }
        io::ErrorKind::Unsupported => "; this kernel is built without it",
        _ => "",
    };
    io::Error::new(error.kind(), format!("the kernel refuses io_uring: {error}{why}"))
}
