//! What is mounted in this mount namespace: `/proc/self/mountinfo`, proc_pid_mountinfo(5).

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::{ffi::OsString, fs, io};

use nix::sys::stat::{major, minor};

/// A device's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber {
    /// Which driver.
    pub major: u64,
    /// Which of its devices.
    pub minor: u64,
}

impl DeviceNumber {
    pub(crate) fn from_raw(raw: u64) -> Self {
        Self { major: major(raw), minor: minor(raw) }
    }
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The device under it; filesystems over several devices (btrfs) show one of their own here.
    pub device: DeviceNumber,
    /// Where it is.
    pub path: PathBuf,
    /// The filesystem's type, `xfs`.
    pub filesystem: String,
    /// What was mounted, `/dev/mapper/vg0-data`; arbitrary text for some filesystems.
    pub source: PathBuf,
}

/// Reads the mounts of this process's namespace.
pub(crate) fn read() -> io::Result<Vec<Mount>> {
    let mut mounts = parse(&fs::read("/proc/self/mountinfo")?);
    for mount in &mut mounts {
        if mount.device.major == 0
            && let Some(device) = device_of(&mount.source)
        {
            mount.device = device;
        }
    }
    Ok(mounts)
}

/// Filesystems of their own device number (major 0) still name the disk they are on.
fn device_of(source: &Path) -> Option<DeviceNumber> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    if !source.starts_with("/dev") {
        return None;
    }
    let metadata = fs::metadata(source).ok()?;
    metadata.file_type().is_block_device().then(|| DeviceNumber::from_raw(metadata.rdev()))
}

/// Parses the file; lines of an unknown form are skipped, as the manual asks for optional fields.
fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|&byte| byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let device = std::str::from_utf8(fields.nth(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let device = DeviceNumber { major: major.parse().ok()?, minor: minor.parse().ok()? };
    let path = unescape(fields.nth(1)?);
    // Optional fields end with a single hyphen.
    fields.by_ref().find(|&field| field == b"-")?;
    let filesystem = String::from_utf8_lossy(fields.next()?).into_owned();
    let source = unescape(fields.next()?);
    Some(Mount { device, path, filesystem, source })
}

/// Undoes the kernel's `\040` for space, tab, newline and backslash.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) =
            (first, tail)
        {
            bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mounts_are_read_with_optional_fields_and_escapes() {
        let text = b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw\n\
            85 29 254:3 / /m\\040n\\134 rw,relatime - xfs /dev/mapper/vg0-data--one rw,attr2\n\
            broken line\n\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].path, Path::new("/mnt2"));
        assert_eq!(mounts[0].filesystem, "ext3");
        assert_eq!(mounts[1].device, DeviceNumber { major: 254, minor: 3 });
        assert_eq!(mounts[1].path, Path::new("/m n\\"));
        assert_eq!(mounts[1].source, Path::new("/dev/mapper/vg0-data--one"));
    }

    #[test]
    fn this_machines_own_mounts_are_read() {
        assert!(read().unwrap().iter().any(|mount| mount.path == Path::new("/")));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_line_makes_it_panic(line in "[0-9]{1,3} 1 [0-9]{0,30}:[0-9]{0,3} / [\\\\0-9a-z/]{0,20} rw -? - [a-z]{0,4} ?[a-z\\\\]{0,4}") {
            let _ = parse(line.as_bytes());
        }
    }
}
